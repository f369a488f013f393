"""What every weighting of tasks is."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from jaxtyping import Float, Int
from numpy.typing import NDArray

from ray_mentor.errors import UserError, shown
from ray_mentor.tasks.settings import TaskSettings
from ray_mentor.tasks.task_set import PerTask, TaskSet

Values = Float[NDArray[np.float64], " values"]


@dataclass(frozen=True)
class Seen:
    """What one task's episodes said, in figures.

    Attributes:
        success: the share of the episodes that succeeded, in [0, 1].
        advantage: mean |advantage|, over whatever the agent has advantages of (steps or episodes).
        version: of the policy that played.
    """

    success: float
    advantage: float
    version: int


@dataclass(frozen=True)
class TaskInfluences:
    """What groups of episodes would have done to the trusted return, one more of them.

    Attributes:
        tasks: (groups,) the task of each.
        influence: (groups,) ∂J_T/∂w of each in units of the step's length along the trusted gradient; above 0: it
            helps.
    """

    tasks: Int[NDArray[np.int64], " groups"]
    influence: Float[NDArray[np.float64], " groups"]


class AbstractWeighting(ABC):
    """How likely each task is to be next, by one rule.

    Args:
        tasks: that there are.
        trusted: numbers of those of them that are trusted.
    """

    explores: ClassVar[bool] = True
    """Whether a share of the draws goes to all tasks alike."""
    learns: ClassVar[bool] = False
    """Whether it asks for trusted rollouts."""

    def __init__(self, tasks: TaskSet, settings: TaskSettings, trusted: Int[NDArray[np.int64], " trusted"]) -> None:
        self.tasks = tasks
        self.settings = settings
        self.trusted = trusted

    @abstractmethod
    def shares(self) -> PerTask:
        """Of each task, without exploration; they add up to 1."""

    def report(self, task: int, seen: Seen) -> None:  # noqa: B027 - most, but not all, go by it
        """Takes in what a group of episodes said."""

    def learn(self, found: TaskInfluences) -> None:  # noqa: B027 - most don't go by influences
        """Takes in the influences of an update."""

    def kept(self) -> dict[str, NDArray[Any]]:
        """What it remembers, by name: arrays that it never replaces."""
        return {}

    def table(self) -> dict[str, Any]:
        """Its state, in plain types."""
        return {name: value.tolist() for name, value in self.kept().items()}

    def load(self, table: Any) -> None:
        """Goes on where :meth:`table` was taken.

        Raises:
            UserError: a state of another weighting, or of other tasks.
        """
        own = self.kept()
        if not isinstance(table, dict) or table.keys() != own.keys():
            raise UserError(
                f"the weighting's state has {shown(sorted(table) if isinstance(table, dict) else table)}, but this one "
                f"keeps {sorted(own)}; give a state of the same method"
            )
        found = {}
        for name, value in own.items():
            try:
                found[name] = np.asarray(table[name], value.dtype)
            except (TypeError, ValueError, OverflowError) as error:
                raise UserError(
                    f"{name} of the weighting's state is {shown(table[name])}, which is no numbers"
                ) from error
            if found[name].shape != value.shape or not np.isfinite(found[name]).all():
                raise UserError(
                    f"{name} of the weighting's state is {shown(table[name])}, but it must be {value.size} finite "
                    "numbers; give a state of the same tasks"
                )
        for name, value in found.items():
            own[name][...] = value


def equal(n: int) -> PerTask:
    """The same for all."""
    return np.full(n, 1 / n)


def softmax(values: PerTask, temperature: float) -> PerTask:
    """∝ exp(values/τ)."""
    found = np.exp((values - values.max()) / temperature)
    return np.asarray(found / found.sum())
