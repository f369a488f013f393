"""What an agent did in some episodes of one task."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from ray_mentor.errors import UserError


@dataclass(frozen=True)
class PolicyRows:
    """Steps of some episodes of one task, in any order.

    Attributes:
        observations: (rows, ...) as the policy was called with them.
        actions: (rows,), or (rows, d) of several numbers each.
        log_probs: (rows,) of these actions when they were taken.
        advantages: (rows,) as the training has them.
        episodes: how many there were: g = (1/episodes)·Σ_rows A·∇log π(a|o), so that a long episode counts as one.

    Raises:
        UserError: no rows, or not one of something a row.
    """

    observations: Tensor
    actions: Tensor
    log_probs: Float[Tensor, " rows"]
    advantages: Float[Tensor, " rows"]
    episodes: int

    def __post_init__(self) -> None:
        n = len(self.actions)
        for name in ("observations", "log_probs", "advantages"):
            if len(getattr(self, name)) != n:
                raise UserError(f"{name} has {len(getattr(self, name))} rows for {n} actions; give one a row")
        if n == 0 or self.episodes < 1:
            raise UserError(f"there are {n} rows of {self.episodes} episodes; leave out tasks that nobody played")

    def __len__(self) -> int:
        return len(self.actions)

    @property
    def labels(self) -> Float[Tensor, "rows columns"]:
        """Advantage, log-probability and action of each row, side by side, as the surrogate loss reads them."""
        actions = self.actions.reshape(len(self), -1)
        columns = self.advantages[:, None], self.log_probs[:, None], actions
        return torch.cat([column.detach().to(self.log_probs.dtype) for column in columns], dim=1)


@dataclass(frozen=True)
class Rollouts:
    """Episodes of one task.

    Attributes:
        task: its id.
        rows: what was done in them.
    """

    task: str
    rows: PolicyRows
