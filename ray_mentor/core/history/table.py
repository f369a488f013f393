"""What is remembered of every sample: its last losses, and what a method keeps beside them."""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor

from ray_mentor.core.exchange import AbstractExchange
from ray_mentor.core.history.touched_rows import TouchedRows
from ray_mentor.errors import UserError


class LossHistory:
    """The last ``length`` losses of every training sample, newest first; of a rank's own rows where ranks split it.

    Behind them lie ``beside`` other numbers of each sample, for a loss that remembers (a running prediction) and for
    what is found out each epoch. Rank r of R owns the rows ⌊r·N/R⌋ to ⌊(r + 1)·N/R⌋ − 1. Cost: 4·(length + beside)/R
    bytes a sample.

    Args:
        n_samples: N.
        length: past losses kept per sample.
        rank: r.
        ranks: R; 1: every rank holds the whole.
        beside: numbers kept beside them.
        device: that it lives on, the student's; None: the CPU.

    Attributes:
        table: the own rows; NaN where there is nothing yet.
        own: which rows these are.
        touched: takes down which own rows are written to, where somebody wants to know.
    """

    def __init__(
        self,
        n_samples: int,
        length: int,
        rank: int = 0,
        ranks: int = 1,
        beside: int = 0,
        device: torch.device | None = None,
    ) -> None:
        rank, ranks = (rank, ranks) if length + beside else (0, 1)  # nothing to split
        self.length = length
        self.n_samples = n_samples
        self.rank, self.ranks = rank, ranks
        self._starts = torch.tensor([part * n_samples // ranks for part in range(ranks + 1)])
        self.own = range(int(self._starts[rank]), int(self._starts[rank + 1]))
        self.table = torch.full((len(self.own), length + beside), torch.nan, device=device)
        self._before: list[tuple[Tensor, Tensor]] = []  # places, and what was there at the last mark
        self.touched: TouchedRows | None = None

    @property
    def width(self) -> int:
        """Numbers kept per sample, past losses and others."""
        return int(self.table.shape[1])

    @property
    def shape(self) -> tuple[int, int]:
        """Samples, and numbers each, over all ranks."""
        return self.n_samples, self.width

    @property
    def is_split(self) -> bool:
        """Whether other ranks hold a part of it."""
        return self.ranks > 1

    def owners(self, rows: Int[Tensor, " batch"]) -> Int[Tensor, " batch"]:
        """The rank that owns each row; both on the host."""
        return torch.searchsorted(self._starts, rows, right=True) - 1

    def past(self, rows: Int[Tensor, " own"]) -> Float[Tensor, "own length"]:
        """The past of rows that this rank owns; NaN where there is none yet."""
        if not self.length:
            return self.table.new_empty((rows.shape[0], 0))
        return self._of(rows)[:, : self.length]

    def beside(self, rows: Int[Tensor, " own"]) -> Float[Tensor, "own beside"]:
        """What is kept beside the losses of rows that this rank owns; NaN where nothing is yet."""
        return self._of(rows)[:, self.length :]

    def _of(self, rows: Int[Tensor, " own"]) -> Float[Tensor, "own width"]:
        return self._at(rows - self.own.start if self.is_split else rows)

    def push(self, rows: Int[Tensor, " batch"], losses: Float[Tensor, " batch"]) -> None:
        """Records the current losses of those of ``rows`` that this rank owns."""
        if not self.length:
            return
        places, losses = self._own(rows, losses)
        kept = self._at(places)
        pushed = [losses[:, None].to(self.table), kept[:, : self.length - 1], kept[:, self.length :]]
        self._write(places, kept, torch.cat(pushed, dim=1))

    def put(self, rows: Int[Tensor, " batch"], values: Float[Tensor, "batch some"], first: int = 0) -> None:
        """Keeps these numbers beside the losses of those of ``rows`` that this rank owns.

        Args:
            first: of the columns beside the losses, where they begin; those around them stay as they are.
        """
        places, values = self._own(rows, values)
        kept = self._at(places)
        start = self.length + first
        rows = kept.clone()
        rows[:, start : start + values.shape[1]] = values.to(kept)
        self._write(places, kept, rows)

    def mark(self) -> None:
        """What is written from now on can be taken back."""
        self._before = []

    def take_back(self) -> None:
        """Puts what was written since the last mark back; that it was touched stays taken down."""
        for places, rows in reversed(self._before):
            self.table.index_copy_(0, places, rows)
        self._before = []

    def _at(self, places: Int[Tensor, " own"]) -> Float[Tensor, "own width"]:
        """Of whole rows, three times as fast as table[places]."""
        return self.table.index_select(0, places.to(self.table.device, non_blocking=True))

    def _own(self, rows: Int[Tensor, " batch"], values: Tensor) -> tuple[Int[Tensor, " own"], Tensor]:
        """Places in the own table of the own rows, and their values.

        Args:
            rows: on the host where ranks split the table.
        """
        if not self.is_split:
            return rows, values
        own = ((rows >= self.own.start) & (rows < self.own.stop)).nonzero()[:, 0]
        return rows[own] - self.own.start, values[own.to(values.device, non_blocking=True)]

    def _write(
        self, places: Int[Tensor, " own"], before: Float[Tensor, "own width"], rows: Float[Tensor, "own width"]
    ) -> None:
        there = places.to(self.table.device, non_blocking=True)
        self.table.index_copy_(0, there, rows)
        self._before.append((there, before))
        if self.touched is not None:
            self.touched.add(places.cpu().numpy())

    def whole(self, exchange: AbstractExchange) -> Float[Tensor, "samples length"]:
        """The table of all samples, on every rank, in the host's memory; the one in use, where that lies there.

        A collective call.
        """
        if not self.is_split:
            return self.table.cpu()
        return exchange.gather(self.table.cpu(), tuple(self._starts.diff().tolist()))

    def load(self, whole: Float[Tensor, "samples length"]) -> None:
        """Takes up the own rows of a whole table."""
        self.table.copy_(whole[self.own.start : self.own.stop])

    def check_shape(self, found: tuple[int, ...]) -> None:
        """Raises a UserError if a whole table of this shape is not one of this history."""
        if found != self.shape:
            raise UserError(
                f"the state's loss history is of {found} (samples, numbers each), but this curriculum's is of "
                f"{self.shape}; n_samples, history_length and loss must be as they were"
            )


def filled(past: Float[Tensor, "batch length"], losses: Float[Tensor, " batch"]) -> Float[Tensor, "batch length"]:
    """The past, with the current loss standing in where there is none yet."""
    if past.shape[1] == 0:
        return past.to(losses)
    return torch.where(past.isnan(), losses[:, None], past)
