"""The logarithm of a factor, learnt from its noisy slope: it climbs by doubling, and then takes Adam's steps."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass

START, BOUND = -math.log(1000), math.log(1e6)
"""Where a begins, and how far it may go from 0, either way."""


@dataclass
class LogFactor:
    """a, from −ln 1000 on: a ← a + c at each slope below 0, a − ln 2 at the second of two that aren't, and from then on

        a ← a − κ·m̂/√v̂

    m and v the averages of the slope and of its square, without their start (Adam's, Kingma & Ba 2015). Such a step
    goes by how sure the slope's sign is and not by its size, which no unit would fit; it is at most κ long.

    Attributes:
        most: κ.
        climb: c.
        betas: how much of the averages is kept.
        value: a, in [−ln 10⁶, ln 10⁶].
        climbs: whether it doubles.
        doubts: slopes above 0, one after the other, while it climbs.
        mean: m.
        square: v.
        count: steps taken since it climbed.
    """

    most: float
    climb: float = math.log(2)
    betas: tuple[float, float] = (0.9, 0.9)
    value: float = START
    climbs: bool = True
    doubts: int = 0
    mean: float = 0.0
    square: float = 0.0
    count: int = 0

    def step(self, slope: float) -> None:
        """Takes in a slope; one that is not finite, or 0, says nothing."""
        if not math.isfinite(slope) or slope == 0:
            return
        if self.climbs:
            self._climb(slope)
            return
        kept, kept_square = self.betas
        self.count += 1
        self.mean = kept * self.mean + (1 - kept) * slope
        self.square = kept_square * self.square + (1 - kept_square) * slope * slope
        mean, square = self.mean / (1 - kept**self.count), self.square / (1 - kept_square**self.count)
        if square > 0:
            self._shift(-self.most * max(-1.0, min(1.0, mean / math.sqrt(square))))

    def _climb(self, slope: float) -> None:
        """One slope that is above 0 may be a batch's."""
        self.doubts = self.doubts + 1 if slope > 0 else 0
        if self.doubts == 0:
            self._shift(self.climb)
        elif self.doubts > 1:
            self.halve()

    def halve(self) -> None:
        """It was too much; and it climbs no more."""
        self._shift(-math.log(2))
        self.climbs = False

    def state(self) -> dict[str, float]:
        """What it carries from one step to the next."""
        return {name: getattr(self, name) for name in _CARRIED}

    def load(self, state: dict[str, float]) -> None:
        """Goes on from there."""
        for name in _CARRIED:
            setattr(self, name, state[name])

    def _shift(self, by: float) -> None:
        self.value = max(-BOUND, min(BOUND, self.value + by))


_CARRIED = tuple(field.name for field in dataclasses.fields(LogFactor) if field.name not in ("most", "climb", "betas"))
