"""The units that a mentor is shown losses in."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from ray_mentor.core.step.features import Features

ROUNDING = 1e-6
"""Of the level: a spread below it is rounding of float32, and no difference between samples."""


@dataclass(frozen=True)
class Units:
    """What the features of a step are divided by; tensors where they have not left the device.

    Attributes:
        level: of losses and their history, > 0.
        spread: of loss differences, > 0.
    """

    level: float | Float[Tensor, ""]
    spread: float | Float[Tensor, ""]

    def of(self, features: Features) -> Features:
        """The same features in these units."""
        return dataclasses.replace(
            features,
            loss=features.loss / self.level,
            loss_difference=features.loss_difference / self.spread,
            history=features.history / self.level,
        )


class RunningUnits:
    """Running means of |ℓ_i| and |ℓ_i − q|, for a loss that is not in nats: c·ℓ is then weighed as ℓ is.

    A cross-entropy's size means something (log C is chance), and a mentor's first layer is made for it. With losses in
    the hundreds each of its units is saturated, and all samples look alike; with losses of a thousandth, too. They live
    where the losses are, and nothing waits for them.

    Args:
        decay: per step, in [0, 1).
    """

    def __init__(self, decay: float) -> None:
        self.decay = decay
        self.running: Float[Tensor, " 2"] | None = None
        """Level and spread in float64; NaN, or None, before there are any. Never written over."""

    @property
    def value(self) -> Units | None:
        """The means, read from the device; None before there are any."""
        level, spread = (math.nan, math.nan) if self.running is None else self.running.cpu().tolist()
        return None if math.isnan(level) else Units(level, spread)

    @value.setter
    def value(self, value: Units | None) -> None:
        self.running = None if value is None else torch.tensor([value.level, value.spread], dtype=torch.float64)

    def update(
        self,
        losses: Float[Tensor, " batch"],
        differences: Float[Tensor, " batch"],
        without: Bool[Tensor, " batch"] | None = None,
    ) -> Units:
        """Takes one global batch in, of which there may be nothing; returns the updated units.

        Args:
            without: samples that have no say in it; None: all have one.
        """
        before = losses.new_full((2,), math.nan, dtype=torch.float64) if self.running is None else self.running
        before = before.to(losses.device)
        if len(losses):
            sizes = torch.stack([losses.double().abs(), differences.double().abs()])
            if without is None:
                now = sizes.mean(dim=1)
            else:
                now = sizes.masked_fill(without, 0.0).sum(dim=1) / (len(losses) - without.sum())
            moved = torch.where(before.isnan(), now, self.decay * before + (1 - self.decay) * now)
            before = moved if without is None else torch.where(without.all(), before, moved)
        self.running = before
        level, spread = before.nan_to_num(0.0).unbind()
        level = level.where(level > 0, 1.0)
        return Units(level, spread.where(spread > ROUNDING * level, level))
