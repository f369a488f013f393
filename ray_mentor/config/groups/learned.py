"""Settings of training that the run learns itself, and how."""

from __future__ import annotations

from dataclasses import dataclass

from ray_mentor.config.values import require
from ray_mentor.errors import one_of

LEARNABLE = ("lr",)
"""What a run can learn of its own settings."""


@dataclass(frozen=True)
class LearnConfig:
    """Settings of training that the run learns itself, and how."""

    learn: tuple[str, ...] = ()
    """Settings that are learnt while the student trains: lr, a factor on the schedule of all learning rates."""
    learn_interval: int = 5
    """Student steps between two steps of a learnt setting, >= 1."""
    learn_until: float = 0.5
    """Share of training in which it is learnt, in (0, 1]; then it stays."""
    learn_step: float = 0.15
    """Most that the logarithm of a learnt setting changes by in a step, > 0, once it no longer doubles."""
    learn_trace: float = 0.99
    """How much of what earlier steps did counts a step later, in [0, 1]; 0: the last step alone."""

    def __post_init__(self) -> None:
        for name in self.learn:
            one_of(name, LEARNABLE, "learn")
        require(self.learn_interval >= 1, "learn_interval", self.learn_interval, "it must be at least 1")
        require(0 < self.learn_until <= 1, "learn_until", self.learn_until, "it must lie in (0, 1]")
        require(self.learn_step > 0, "learn_step", self.learn_step, "it must be above 0", "e.g. 0.15")
        require(0 <= self.learn_trace <= 1, "learn_trace", self.learn_trace, "it must lie in [0, 1]")
