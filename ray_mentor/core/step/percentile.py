"""The running percentile that loss differences are measured from."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor


class RunningPercentile:
    """q ← γ·q + (1 − γ)·percentile_p(losses of the global batch); the first batch sets q.

    A batch of no losses leaves q as it is; before the first other one q counts as 0.

    The published code starts at q = 0 instead, so that its first ~1/(1 − γ) steps see differences
    that are too large (MentorNet, Jiang et al. 2018, `loss_moving_average`).
    """

    def __init__(self, percentile: float, decay: float) -> None:
        self.percentile = percentile
        self.decay = decay
        self.value: float | None = None

    def update(self, losses: Float[Tensor, " batch"]) -> float:
        """Takes one global batch of losses in; returns the updated q."""
        if len(losses) == 0:
            return self.value or 0.0
        batch_value = float(torch.quantile(losses.double(), self.percentile))
        self.value = batch_value if self.value is None else self.decay * self.value + (1 - self.decay) * batch_value
        return self.value
