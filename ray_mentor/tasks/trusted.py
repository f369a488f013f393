"""Which trusted tasks are rolled out for an update, and what each rollout then counts for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray

from ray_mentor.errors import UserError, shown
from ray_mentor.tasks.rollouts import Rollouts
from ray_mentor.tasks.settings import TaskSettings
from ray_mentor.tasks.task_set import PerTask, TaskSet

_LEAST = 0.02
"""Of a task's mean |advantage|: one that never succeeded may."""


class TrustedDraws:
    """J_T is the mean of the trusted tasks' returns; of n of them some are drawn, each with a probability q_j.

    Where half of the draws are by mean |advantage|, q is larger where a gradient can be had; with the weights
    1/(n·q_j·draws) the sum of the drawn tasks' gradients is unbiased whatever q is.

    Args:
        tasks: the trusted ones.
    """

    def __init__(self, tasks: TaskSet, settings: TaskSettings, seed: int) -> None:
        self.tasks = tasks
        self._settings = settings
        self._seed = seed
        self._available = np.ones(len(tasks))

    def probabilities(self) -> PerTask:
        """Of each trusted task, q."""
        n = len(self.tasks)
        if self._settings.trusted_draw == "uniform":
            return np.full(n, 1 / n)
        return np.asarray(0.5 / n + 0.5 * self._available / self._available.sum())

    def asked(self, iteration: int) -> list[str]:
        """Ids of those of an iteration, some more than once."""
        draw = np.random.default_rng([self._seed, 2, iteration])
        chosen = draw.choice(len(self.tasks), self._settings.trusted_groups, p=self.probabilities())
        return [self.tasks.ids[place] for place in chosen]

    def weights(self, came: Sequence[Rollouts], asked: Sequence[str]) -> Float[NDArray[np.float64], " came"]:
        """Of each rollout in J_T.

        Raises:
            UserError: other tasks than were asked for.
        """
        tasks = [one.task for one in came]
        if sorted(tasks) != sorted(asked):
            raise UserError(
                f"trusted rollouts are of {shown(tasks)}, but trusted_tasks() asked for {shown(list(asked))}; give one "
                "for each that it names"
            )
        q = self.probabilities()[self.tasks.places(tasks)]
        return 1 / (len(self.tasks) * q * len(tasks))

    def take_in(self, came: Sequence[Rollouts]) -> None:
        """What these rollouts say of where a gradient can be had."""
        for one in came:
            place = self.tasks.place(one.task)
            size = float(one.rows.advantages.abs().mean())
            grown = self._available[place] + _RATE * (size - self._available[place])
            self._available[place] = max(grown, _LEAST)

    def table(self) -> dict[str, Any]:
        """Its state, in plain types."""
        return {"available": self._available.tolist()}

    def load(self, table: dict[str, Any]) -> None:
        """Goes on where :meth:`table` was taken."""
        self._available[...] = table["available"]


_RATE = 0.3
