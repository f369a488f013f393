"""The running percentile that loss differences are measured from."""

from __future__ import annotations

import math

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor


class RunningPercentile:
    """q ← γ·q + (1 − γ)·percentile_p(losses of the global batch); the first batch sets q.

    A batch of no losses leaves q as it is; before the first other one q counts as 0. It lives where the losses are, and
    nothing waits for it.

    The published code starts at q = 0 instead, so that its first ~1/(1 − γ) steps see differences
    that are too large (MentorNet, Jiang et al. 2018, `loss_moving_average`).
    """

    def __init__(self, percentile: float, decay: float) -> None:
        self.percentile = percentile
        self.decay = decay
        self.running: Float[Tensor, ""] | None = None
        """In float64; NaN, or None, before there is one. Never written over."""

    @property
    def value(self) -> float | None:
        """Q, read from the device; None before there is one."""
        value = math.nan if self.running is None else float(self.running)
        return None if math.isnan(value) else value

    @value.setter
    def value(self, value: float | None) -> None:
        self.running = None if value is None else torch.tensor(value, dtype=torch.float64)

    def update(
        self, losses: Float[Tensor, " batch"], without: Bool[Tensor, " batch"] | None = None
    ) -> Float[Tensor, ""]:
        """Takes one global batch of losses in; returns the updated q.

        Args:
            without: samples that have no say in it; None: all have one.
        """
        before = losses.new_full((), math.nan, dtype=torch.float64) if self.running is None else self.running
        before = before.to(losses.device)
        if len(losses):
            now = _percentile_of(losses, self.percentile, without)
            moved = torch.where(before.isnan(), now, self.decay * before + (1 - self.decay) * now)
            before = moved if without is None else torch.where(without.all(), before, moved)
        self.running = before
        return before.nan_to_num(0.0) if without is not None or not len(losses) else before


def _percentile_of(
    losses: Float[Tensor, " batch"], share: float, without: Bool[Tensor, " batch"] | None
) -> Float[Tensor, ""]:
    """As torch.quantile has it, to the bit, of those that are not left out; the host need not know how many these are.

    Of none it is infinite, or NaN.
    """
    if without is None:
        place = share * (len(losses) - 1)
        around = _ordered(losses.double())[math.floor(place) : math.ceil(place) + 1]
        return torch.lerp(around[0], around[-1], place - math.floor(place))
    ordered = _ordered(losses.double().masked_fill(without, torch.inf))
    places = share * (len(losses) - 1 - without.sum()).clamp(min=0).double()
    below = places.long()
    low, high = ordered[torch.stack([below, places.ceil().long()])].unbind()
    return torch.lerp(low, high, places - below)


def _ordered(values: Float[Tensor, " batch"]) -> Float[Tensor, " batch"]:
    """Ascending, NaN last; on a CPU by NumPy, which takes a tenth of the time for thousands of values."""
    if values.device.type == "cpu":
        return torch.from_numpy(np.sort(values.detach().numpy()))
    return values.detach().sort().values
