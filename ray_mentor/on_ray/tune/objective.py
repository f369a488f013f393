"""What a sweep makes large: a figure of each epoch that never saw the test split."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ray_mentor.errors import UserError

OBJECTIVES = ("accuracy", "gap-per-cost")

NONE = "none"
"""The objective of runs that are not searched: nothing is chosen by what they tell, and nothing has to be known."""


@dataclass(frozen=True)
class Figures:
    """What a trial tells of itself after an epoch.

    Attributes:
        epoch: epochs done.
        accuracy: on held-out trusted samples.
        seconds: training time, projected to the whole run.
        objective: what is made large.
        equal_share: share of the epoch's steps whose sample weights had collapsed, and were taken as equal.
    """

    epoch: int
    accuracy: float
    seconds: float
    objective: float
    equal_share: float


@dataclass(frozen=True)
class Objective:
    """Accuracy a(e) on held-out trusted samples after e epochs, or (a(e) − a₀(e)) / (t(e) / t₀(e)): gap per cost.

    Args:
        kind: one of :data:`OBJECTIVES`, or :data:`NONE`.
        epochs: of a whole run.
        baseline: a₀ and t₀, the metrics of a run with equal weights, a row an epoch; needed for gap-per-cost.
    """

    kind: str
    epochs: int
    baseline: Sequence[Mapping[str, float | None]] = ()

    def figures(self, row: Mapping[str, float | None], before: Mapping[str, float | None] | None) -> Figures:
        """What an epoch's metrics come to, with those of the epoch before it."""
        done = int(row["epoch"] or 0) + 1
        accuracy, seconds = self._accuracy(row["trusted_accuracy"]), _known(row["train_seconds"])
        return Figures(
            epoch=done,
            accuracy=accuracy,
            seconds=seconds * self.epochs / done,
            objective=self._value(done, accuracy, seconds),
            equal_share=_gained("fallbacks", row, before) / max(_gained("steps", row, before), 1.0),
        )

    def _value(self, done: int, accuracy: float, seconds: float) -> float:
        if self.kind in ("accuracy", NONE):
            return accuracy
        plain = self.baseline[done - 1]
        gap = accuracy - _known(plain["trusted_accuracy"])
        return gap / (seconds / _known(plain["train_seconds"]))

    def _accuracy(self, value: float | None) -> float:
        return math.nan if self.kind == NONE and value is None else _known(value)


def _known(value: float | None) -> float:
    if value is None:
        raise UserError(
            "no trusted sample is held out, but a sweep chooses by the accuracy on such ones, never on the test split; "
            "give a larger meta set, or a meta_holdout above 0"
        )
    return value


def _gained(name: str, row: Mapping[str, float | None], before: Mapping[str, float | None] | None) -> float:
    return (row[name] or 0.0) - ((before or {}).get(name) or 0.0)
