"""Weightings that go by what a task does for the trusted ones."""

from __future__ import annotations

from typing import Any, final

import numpy as np
from jaxtyping import Int
from numpy.typing import NDArray

from ray_mentor.tasks.base import AbstractWeighting, TaskInfluences, equal
from ray_mentor.tasks.pooled import PooledInfluences
from ray_mentor.tasks.published import Availability
from ray_mentor.tasks.settings import TaskSettings
from ray_mentor.tasks.task_set import PerTask, TaskSet


@final
class Influence(AbstractWeighting):
    """∝ max(u, 0)^γ, u the pooled influence; all alike until one is above 0."""

    learns = True

    def __init__(self, tasks: TaskSet, settings: TaskSettings, trusted: Int[NDArray[np.int64], " trusted"]) -> None:
        super().__init__(tasks, settings, trusted)
        self.pooled = PooledInfluences(tasks, settings)

    def learn(self, found: TaskInfluences) -> None:
        self.pooled.take_in(found)

    def shares(self) -> PerTask:
        return useful(equal(len(self.tasks)), self.pooled, self.settings.sharpness)

    def kept(self) -> dict[str, NDArray[Any]]:
        return self.pooled.kept()


@final
class Mentor(Availability):
    """∝ exp(Q/τ)·max(u, 0)^γ: where a gradient can be had, times what it is worth to the trusted tasks.

    Until an influence above 0 is known it is SEC's rule, and where all tasks are worth the same it stays that.
    """

    learns = True
    temperature = 0.4

    def __init__(self, tasks: TaskSet, settings: TaskSettings, trusted: Int[NDArray[np.int64], " trusted"]) -> None:
        super().__init__(tasks, settings, trusted)
        self.pooled = PooledInfluences(tasks, settings)

    def learn(self, found: TaskInfluences) -> None:
        self.pooled.take_in(found)

    def shares(self) -> PerTask:
        return useful(super().shares(), self.pooled, self.settings.sharpness)

    def kept(self) -> dict[str, NDArray[Any]]:
        return {**super().kept(), **self.pooled.kept()}


def useful(available: PerTask, pooled: PooledInfluences, sharpness: float) -> PerTask:
    """∝ available·max(u, 0)^γ; as available where nothing is known to help."""
    u = np.zeros(len(available)) if pooled.is_empty else np.maximum(pooled.usefulness(), 0.0)
    if u.max() <= 0:
        return available
    found = available * (u / u.max()) ** sharpness
    return np.asarray(found / found.sum())
