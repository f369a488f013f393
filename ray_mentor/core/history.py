"""The last losses of every sample."""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor


class LossHistory:
    """A table of the last ``length`` losses per training sample, newest first.

    Every rank holds the whole table: the losses of the global batch are exchanged anyway, so all
    copies agree without further traffic. Cost: 4·length bytes a sample.
    """

    def __init__(self, n_samples: int, length: int) -> None:
        self.table = torch.full((n_samples, length), torch.nan)

    @property
    def length(self) -> int:
        """Past losses kept per sample."""
        return int(self.table.shape[1])

    def past(self, rows: Int[Tensor, " batch"], losses: Float[Tensor, " batch"]) -> Float[Tensor, "batch length"]:
        """The past of ``rows``, with the current loss standing in where there is none yet."""
        if self.length == 0:
            return losses.new_empty((len(losses), 0))
        past = self.table[rows]
        return torch.where(past.isnan(), losses[:, None], past)

    def push(self, rows: Int[Tensor, " batch"], losses: Float[Tensor, " batch"]) -> None:
        """Records the current losses of ``rows``."""
        if self.length:
            self.table[rows] = torch.cat([losses[:, None].to(self.table), self.table[rows, :-1]], dim=1)
