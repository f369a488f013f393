"""Every setting of a sweep: how it searches, and the run around what is searched."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from ray_mentor.config import TrainConfig
from ray_mentor.config.around import flat, split
from ray_mentor.config.values import require
from ray_mentor.errors import one_of


@dataclass(frozen=True)
class SweepSettings:
    """How a sweep searches, and how sure it makes of what it found."""

    trials: int | None = None
    """Trials, >= 1. None: the space's own, which are 16 if it does not say."""
    scheduler: Literal["asha", "pbt", "none"] = "asha"
    """Which trials go on: asha (the best third at each rung), pbt (the worst take over the state of the best, and
    change settings in the middle of the run), none (all to the end)."""
    search: Literal["random", "optuna", "pareto"] = "random"
    """What is tried next: random draws, optuna (TPE on the objective), pareto (optuna on accuracy against seconds)."""
    objective: Literal["accuracy", "gap-per-cost"] | None = None
    """What is made large: accuracy on held-out trusted samples, or gap-per-cost, by how much it lies above that of
    equal sample weights, over the ratio of their times. None: the space's own."""
    concurrent: int | None = None
    """Trials at a time, >= 1, at most as many as fit; with an autoscaler, for so many it is asked. None: as many as fit
    at the start."""
    confirm_seeds: int = 3
    """Fresh seeds on which the best settings and those that were not searched train side by side in the end, >= 0."""
    end_hopeless: bool = True
    """End a trial whose sample weights collapse at every other step, two epochs long."""

    def __post_init__(self) -> None:
        one_of(self.scheduler, ("asha", "pbt", "none"), "scheduler")
        one_of(self.search, ("random", "optuna", "pareto"), "search")
        if self.objective is not None:
            one_of(self.objective, ("accuracy", "gap-per-cost"), "objective")
        require(
            self.scheduler != "pbt" or self.search == "random",
            "search",
            self.search,
            "scheduler pbt begins with random draws and changes them itself",
            "give --search random",
        )
        require(self.trials is None or self.trials >= 1, "trials", self.trials, "it must be at least 1")
        require(self.confirm_seeds >= 0, "confirm_seeds", self.confirm_seeds, "it must be at least 0")
        require(self.concurrent is None or self.concurrent >= 1, "concurrent", self.concurrent, "it must be at least 1")


@dataclass(frozen=True)
class SweepConfig:
    """A whole sweep."""

    sweep: SweepSettings = field(default_factory=SweepSettings)
    train: TrainConfig = field(default_factory=TrainConfig)

    def flat(self) -> dict[str, Any]:
        """Every setting under its one name; the inverse of :meth:`from_flat`."""
        return flat(self.sweep, self.train)

    @classmethod
    def from_flat(cls, table: Mapping[str, Any]) -> SweepConfig:
        """Builds a sweep from one flat table; what it lacks keeps its default.

        Raises:
            UserError: an unknown name (with the nearest valid ones), or a value of the wrong type.
        """
        return cls(*split(SweepSettings, table))
