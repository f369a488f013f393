"""The units that a mentor is shown losses in."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from ray_mentor.core.step.features import Features

ROUNDING = 1e-6
"""Of the level: a spread below it is rounding of float32, and no difference between samples."""


@dataclass(frozen=True)
class Units:
    """What the features of a step are divided by.

    Attributes:
        level: of losses and their history, > 0.
        spread: of loss differences, > 0.
    """

    level: float
    spread: float

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
    the hundreds each of its units is saturated, and all samples look alike; with losses of a thousandth, too.

    Args:
        decay: per step, in [0, 1).
    """

    def __init__(self, decay: float) -> None:
        self.decay = decay
        self.value: Units | None = None

    def update(self, losses: Float[Tensor, " batch"], differences: Float[Tensor, " batch"]) -> Units:
        """Takes one global batch in, of which there may be nothing; returns the updated units."""
        if len(losses):
            level, spread = float(losses.double().abs().mean()), float(differences.double().abs().mean())
            before = self.value or Units(level, spread)
            self.value = Units(self._moved(before.level, level), self._moved(before.spread, spread))
        units = self.value or Units(0.0, 0.0)
        level = units.level or 1.0
        return Units(level, units.spread if units.spread > ROUNDING * level else level)

    def _moved(self, before: float, now: float) -> float:
        return self.decay * before + (1 - self.decay) * now
