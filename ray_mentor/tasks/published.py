"""What to compare with: rules that look at no trusted task, and two that look at nothing else."""

from __future__ import annotations

from typing import Any, final

import numpy as np
from jaxtyping import Int
from numpy.typing import NDArray

from ray_mentor.errors import UserError
from ray_mentor.tasks.base import AbstractWeighting, Seen, equal, softmax
from ray_mentor.tasks.settings import TaskSettings
from ray_mentor.tasks.task_set import PerTask, TaskSet


@final
class Uniform(AbstractWeighting):
    """All tasks alike."""

    def shares(self) -> PerTask:
        return equal(len(self.tasks))


@final
class TrustedOnly(AbstractWeighting):
    """The trusted tasks alone, all alike."""

    explores = False

    def __init__(self, tasks: TaskSet, settings: TaskSettings, trusted: Int[NDArray[np.int64], " trusted"]) -> None:
        super().__init__(tasks, settings, trusted)
        if not len(trusted):
            raise UserError("trusted-only has no task: none of the trusted ones is in the set; name some by their ids")

    def shares(self) -> PerTask:
        return np.asarray(np.bincount(self.trusted, minlength=len(self.tasks)) / len(self.trusted), np.float64)


class _OfSuccess(AbstractWeighting):
    """Remembers each task's success rate, p ← (1 − α)·p + α·(share of successes)."""

    at_first = 0.5

    def __init__(self, tasks: TaskSet, settings: TaskSettings, trusted: Int[NDArray[np.int64], " trusted"]) -> None:
        super().__init__(tasks, settings, trusted)
        self.success = np.full(len(tasks), self.at_first)

    def report(self, task: int, seen: Seen) -> None:
        self.success[task] += self.settings.score_rate * (seen.success - self.success[task])

    def kept(self) -> dict[str, NDArray[Any]]:
        return {"success": self.success}


@final
class Manual(_OfSuccess):
    """The first tasks of a given order that are not mastered yet, all alike; when all are, all of the order."""

    at_first = 0.0

    def __init__(self, tasks: TaskSet, settings: TaskSettings, trusted: Int[NDArray[np.int64], " trusted"]) -> None:
        super().__init__(tasks, settings, trusted)
        if not settings.order:
            raise UserError("manual needs an order; give order=, ids of tasks with the easy ones first")
        self._order = tasks.places(settings.order)

    def shares(self) -> PerTask:
        left = self._order[self.success[self._order] < self.settings.mastered]
        chosen = left[: self.settings.window] if len(left) else self._order
        return np.asarray(np.bincount(chosen, minlength=len(self.tasks)) / len(chosen), np.float64)


@final
class Learnability(_OfSuccess):
    """∝ p(1 − p) (Rutherford et al. 2024, arXiv 2408.15099, who measure p anew before they choose). At first p = ½."""

    def shares(self) -> PerTask:
        found = self.success * (1 - self.success)
        return np.asarray(found / found.sum()) if found.sum() > 0 else equal(len(self.tasks))


@final
class LearningProgress(AbstractWeighting):
    """∝ sigmoid(z), z the standardised |f(p_fast) − f(p_slow)| of tasks with progress or success, 0 of the others.

    f(p) = p(1 − θ)/(p + θ(1 − 2p)), θ = 0.1, which stretches small rates; p_fast ← (1 − α)·p_fast + α·p, and p_slow
    runs after p_fast likewise (Kanitscheider et al. 2021, arXiv 2106.14876; Zhang et al. 2023, arXiv 2306.01711). There
    a random policy's rate is taken off p, here it counts as 0.
    """

    stretched = 0.1

    def __init__(self, tasks: TaskSet, settings: TaskSettings, trusted: Int[NDArray[np.int64], " trusted"]) -> None:
        super().__init__(tasks, settings, trusted)
        self._fast, self._slow = np.zeros((2, len(tasks)))

    def report(self, task: int, seen: Seen) -> None:
        self._fast[task] += self.settings.progress_rate * (seen.success - self._fast[task])
        self._slow[task] += self.settings.progress_rate * (self._fast[task] - self._slow[task])

    def shares(self) -> PerTask:
        progress = np.abs(self._stretch(self._fast) - self._stretch(self._slow))
        some = (progress > 0) | (self._fast > 0)
        if not some.any():
            return equal(len(self.tasks))
        z = (progress[some] - progress[some].mean()) / (progress[some].std() or 1.0)
        found = np.zeros(len(self.tasks))
        found[some] = 1 / (1 + np.exp(-z))
        return np.asarray(found / found.sum())

    def _stretch(self, p: PerTask) -> PerTask:
        return np.asarray(p * (1 - self.stretched) / (p + self.stretched * (1 - 2 * p)))

    def kept(self) -> dict[str, NDArray[Any]]:
        return {"fast": self._fast, "slow": self._slow}


class Availability(AbstractWeighting):
    """Q ← (1 − α)·Q + α·mean |A|, 0 at first, and what is not drawn keeps its own; ∝ exp(Q/τ).

    The rule of SEC (Chen et al. 2025, arXiv 2505.14970): where a gradient can be had.
    """

    temperature = 0.2

    def __init__(self, tasks: TaskSet, settings: TaskSettings, trusted: Int[NDArray[np.int64], " trusted"]) -> None:
        super().__init__(tasks, settings, trusted)
        self.available = np.zeros(len(tasks))

    def report(self, task: int, seen: Seen) -> None:
        self.available[task] += self.settings.score_rate * (seen.advantage - self.available[task])

    def shares(self) -> PerTask:
        return softmax(self.available, self.settings.temperature or self.temperature)

    def kept(self) -> dict[str, NDArray[Any]]:
        return {"available": self.available}


@final
class Replay(AbstractWeighting):
    """Prioritized level replay: with probability (share of tasks seen) a seen one, else one that is new.

    P = (1 − ρ)·P_score + ρ·P_stale of seen tasks, P_score ∝ rank^(−1/β) by the mean |advantage| of the last report
    (a critic's, which is what the rule is for), P_stale ∝ versions since the task was seen (Jiang et al. 2021,
    arXiv 2010.03934; β 0.1 and ρ 0.1 of their README).
    """

    def __init__(self, tasks: TaskSet, settings: TaskSettings, trusted: Int[NDArray[np.int64], " trusted"]) -> None:
        super().__init__(tasks, settings, trusted)
        self._score = np.zeros(len(tasks))
        self._version = np.full(len(tasks), -1, np.int64)

    def report(self, task: int, seen: Seen) -> None:
        self._score[task] = seen.advantage
        self._version[task] = seen.version

    def shares(self) -> PerTask:
        seen = self._version >= 0
        found = np.zeros(len(self.tasks))
        if not seen.any():
            return equal(len(self.tasks))
        found[seen] = seen.mean() * self._replayed(seen)
        found[~seen] = 1 / len(self.tasks)  # (share of new ones) / (number of new ones)
        return found

    def _replayed(self, seen: NDArray[np.bool_]) -> PerTask:
        score, n = self._score[seen], int(seen.sum())
        rank = np.empty(n)
        rank[np.argsort(-score, kind="stable")] = np.arange(1, n + 1)
        weight = rank ** (-1 / self.settings.rank_temperature)
        stale = (self._version.max() - self._version[seen]).astype(np.float64)
        whole = stale.sum()
        share = self.settings.staleness
        return np.asarray((1 - share) * weight / weight.sum() + share * (stale / whole if whole > 0 else 1 / n))

    def kept(self) -> dict[str, NDArray[Any]]:
        return {"score": self._score, "version": self._version}
