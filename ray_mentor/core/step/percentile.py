"""The running percentile that loss differences are measured from."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float
from numpy.typing import NDArray
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
        self.running: Float[Tensor, ""] | float | None = None
        """In float64, a number where losses lie on the host; NaN, or None, before there is one. Never written over."""

    @property
    def value(self) -> float | None:
        """Q, read from the device; None before there is one."""
        value = math.nan if self.running is None else float(self.running)
        return None if math.isnan(value) else value

    @value.setter
    def value(self, value: float | None) -> None:
        self.running = value

    @property
    def level(self) -> Float[Tensor, ""] | float:
        """What losses are measured from; 0 before there is anything."""
        if isinstance(self.running, Tensor):
            return self.running.nan_to_num(0.0)
        return 0.0 if self.running is None or math.isnan(self.running) else self.running

    def update(
        self, losses: Float[Tensor, " batch"], without: Bool[Tensor, " batch"] | None = None
    ) -> Float[Tensor, ""] | float:
        """Takes one global batch of losses in; returns the updated q.

        Args:
            without: samples that have no say in it; None: all have one.
        """
        if losses.is_cpu:
            self._update_on_host(losses.detach(), without)
            return self.level
        before = math.nan if self.running is None else self.running
        before = before if isinstance(before, Tensor) else losses.new_full((), before, dtype=torch.float64)
        if len(losses):
            now = _percentile_of(losses, self.percentile, without)
            moved = torch.where(before.isnan(), now, self.decay * before + (1 - self.decay) * now)
            before = moved if without is None else torch.where(without.all(), before, moved)
        self.running = before
        return before.nan_to_num(0.0) if without is not None or not len(losses) else before

    def _update_on_host(self, losses: Float[Tensor, " batch"], without: Bool[Tensor, " batch"] | None) -> None:
        """The same, to the bit, without an operator a number."""
        values = (losses if losses.dtype in (torch.float32, torch.float64) else losses.float()).numpy()
        values = values if without is None else values[~without.numpy()]
        if not len(values):
            return
        now = float(percentile_on_host(values, self.percentile, np.float64))
        before = math.nan if self.running is None else float(self.running)
        self.running = now if math.isnan(before) else self.decay * before + (1 - self.decay) * now


def percentile_on_host(
    values: NDArray[np.floating[Any]], share: float, dtype: type[np.floating[Any]] | None = None
) -> Float[Tensor, ""]:
    """As torch.quantile has it, to the bit, in a fifth of the time; of one value or more.

    Args:
        dtype: of what comes between two values; None: theirs.
    """
    place = share * (len(values) - 1)
    below = math.floor(place)
    around = np.sort(values)[[below, math.ceil(place)]]
    low, high = torch.from_numpy(around if dtype is None else around.astype(dtype)).unbind()
    return torch.lerp(low, high, place - below)


def _percentile_of(
    losses: Float[Tensor, " batch"], share: float, without: Bool[Tensor, " batch"] | None
) -> Float[Tensor, ""]:
    """As torch.quantile has it, to the bit, of those that are not left out; the host need not know how many these are.

    Of none it is infinite, or NaN.
    """
    ordered = losses.detach().double()
    ordered = (ordered if without is None else ordered.masked_fill(without, torch.inf)).sort().values
    if without is None:
        place = share * (len(losses) - 1)
        return torch.lerp(ordered[math.floor(place)], ordered[math.ceil(place)], place - math.floor(place))
    places = share * (len(losses) - 1 - without.sum()).clamp(min=0).double()
    below = places.long()
    low, high = ordered[torch.stack([below, places.ceil().long()])].unbind()
    return torch.lerp(low, high, places - below)
