"""Influences of tasks from few and noisy ones: each tells about the tasks that are like its own."""

from __future__ import annotations

from typing import Any, final

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray

from ray_mentor.tasks.base import TaskInfluences
from ray_mentor.tasks.settings import TaskSettings
from ray_mentor.tasks.task_set import PerTask, TaskSet

_FEW = 1e-3
"""Groups, after decay, below which nothing is known."""


@final
class PooledInfluences:
    """Running sums of each task's influences, and what they say of each task together.

    m_k is the mean over groups of tasks like k (a source's, weighed by
    :attr:`~ray_mentor.tasks.task_set.TaskSet.likeness`), m_0 that over the source. u_k = m_0 + c·(m_k − m_0),
    c = τ²/(τ² + σ²/n_k), σ² the variance of a group's influence in the source, n_k the groups that m_k rests on, τ² the
    variance of m over tasks: a task that nobody saw is what its source is. A source that nobody saw is as good as the
    best known. Old updates fade.
    """

    def __init__(self, tasks: TaskSet, settings: TaskSettings) -> None:
        self._tasks = tasks
        self._settings = settings
        self._count, self._sum, self._squares = np.zeros((3, len(tasks)))

    def take_in(self, found: TaskInfluences) -> None:
        """One update's influences."""
        n = len(self._tasks)
        for kept, new in (
            (self._count, np.ones(len(found.tasks))),
            (self._sum, found.influence),
            (self._squares, found.influence**2),
        ):
            kept *= self._settings.influence_decay
            kept += np.bincount(found.tasks, weights=new, minlength=n)

    @property
    def is_empty(self) -> bool:
        """Whether nothing is known of any task."""
        return not (self._count > _FEW).any()

    def usefulness(self) -> PerTask:
        """Of each task, u."""
        pooling = self._settings.pooling
        if pooling == "none":
            return self._filled(*self._pooled(np.eye(len(self._tasks)))[:2])
        count, source, variance = self._pooled(self._tasks.of_one_source)
        if pooling == "parameters":
            near, mean, _ = self._pooled(self._tasks.likeness)
            between = float(np.var(mean[near > _FEW])) if (near > _FEW).any() else 0.0
            own = between + variance / np.maximum(near, _FEW)
            share = np.divide(between, own, out=np.zeros(len(mean)), where=own > 0)
            source = source + np.where(near > _FEW, share * (mean - source), 0.0)
        return self._filled(count, source)

    def _pooled(self, weights: Float[NDArray[np.float64], "tasks tasks"]) -> tuple[PerTask, PerTask, PerTask]:
        """Groups, mean and variance of a group, over tasks so weighed."""
        count = weights @ self._count
        mean = weights @ self._sum / np.maximum(count, _FEW)
        return count, mean, np.maximum(weights @ self._squares / np.maximum(count, _FEW) - mean**2, 0.0)

    def _filled(self, count: PerTask, found: PerTask) -> PerTask:
        known = count > _FEW
        return np.where(known, found, found[known].max(initial=0.0))

    def kept(self) -> dict[str, NDArray[Any]]:
        """As of a weighting."""
        return {"count": self._count, "sum": self._sum, "squares": self._squares}
