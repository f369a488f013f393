"""How tasks are chosen."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from ray_mentor.config.values import require
from ray_mentor.errors import one_of

POOLINGS = ("parameters", "source", "none")


@dataclass(frozen=True)
class TaskSettings:
    """How tasks are chosen."""

    exploration: float = 0.1
    """ε in [0, 1): π = (1 − ε)·weighting + ε/n. trusted-only has none."""
    temperature: float | None = None
    """τ > 0 of mean |advantage|; None: 0.2 of sec, 0.4 of mentor."""
    score_rate: float = 0.5
    """α in (0, 1] of running means of advantages and successes, a report at a time."""
    progress_rate: float = 0.1
    """α in (0, 1] of learning-progress, of the fast mean and of the slow one behind it."""
    rank_temperature: float = 0.1
    """β > 0 of plr: a task's weight is rank^(−1/β)."""
    staleness: float = 0.1
    """ρ in [0, 1] of plr: share of replay that goes to what was not seen for long."""
    order: tuple[str, ...] = ()
    """Of manual: ids, easy ones first."""
    window: int = 3
    """Of manual: how many tasks are practised at a time, the first that are not mastered."""
    mastered: float = 0.8
    """Of manual: the success rate, in (0, 1], from which a task is mastered."""
    trusted_interval: int = 8
    """Iterations from one update, with trusted rollouts, to the next."""
    trusted_groups: int = 8
    """Trusted tasks that are rolled out for an update."""
    trusted_draw: Literal["available", "uniform"] = "available"
    """Which trusted tasks: half of the draws by mean |advantage|, weighed so that the gradient stays unbiased; or all
    alike."""
    gradient_decay: float = 0.8
    """Decay of the averaged trusted gradient per update, in [0, 1); 0: the last one alone."""
    influence_decay: float = 0.9
    """Decay of what is remembered of influences per update, in [0, 1)."""
    pooling: Literal["parameters", "source", "none"] = "parameters"
    """What tells about a task's influence: tasks of its source, the more alike the more; its source; itself alone."""
    sharpness: float = 2.0
    """γ > 0: the weight is usefulness to the γ."""

    def __post_init__(self) -> None:
        one_of(self.pooling, POOLINGS, "pooling")
        one_of(self.trusted_draw, ("available", "uniform"), "trusted_draw")
        for name in ("exploration", "gradient_decay", "influence_decay"):
            require(0 <= getattr(self, name) < 1, name, getattr(self, name), "it must lie in [0, 1)")
        for name in ("score_rate", "progress_rate", "mastered"):
            require(0 < getattr(self, name) <= 1, name, getattr(self, name), "it must lie in (0, 1]")
        require(0 <= self.staleness <= 1, "staleness", self.staleness, "it must lie in [0, 1]")
        for name in ("temperature", "rank_temperature", "sharpness"):
            value = getattr(self, name)
            require((name == "temperature" and value is None) or value > 0, name, value, "it must be above 0")
        for name in ("window", "trusted_interval", "trusted_groups"):
            value = getattr(self, name)
            is_whole = isinstance(value, int) and not isinstance(value, bool)
            require(is_whole and value >= 1, name, value, "it must be a whole number, and at least 1")
