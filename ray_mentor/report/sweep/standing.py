"""How a sweep stands: which trials run, which have ended, which is best, and how long the rest takes."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from typing import Any

from ray_mentor.report.sweep.words import OUT


class SweepStanding:
    """Takes progress rows of trials.

    Args:
        trials: that there will be.
        epochs: of a whole run.
        now: the time, in seconds.
        noun: what each of them is called.
    """

    def __init__(self, trials: int, epochs: int, now: float, noun: str = "trial") -> None:
        self.trials = trials
        self.epochs = epochs
        self.noun = noun
        self.running: dict[str, Mapping[str, Any]] = {}
        self._last: dict[str, Mapping[str, Any]] = {}
        self._states: dict[str, str] = {}
        self._started: tuple[float, float] | None = None
        self._made = now

    def take(self, row: Mapping[str, Any], now: float) -> None:
        """Takes a row of kind ``trial`` or ``ended``."""
        trial = row["trial"]
        if row["kind"] == "trial":
            self._states.pop(trial, None)  # a trial that was paused goes on
            self.running[trial] = self._last[trial] = row
            if self._started is None:  # what is done by now took other time than trials, or another sweep's
                self._started = (now, self._done())
        else:
            self.running.pop(trial, None)
            self._states[trial] = row["state"]
            self._last[trial] = {**self._last.get(trial, {"trial": trial}), "objective": row["objective"]}

    @property
    def ended(self) -> int:
        """Number of trials that have ended."""
        return len(self._states)

    @property
    def counts(self) -> Counter[str]:
        """How many trials have ended in each state."""
        return Counter(self._states.values())

    @property
    def best(self) -> Mapping[str, Any] | None:
        """The newest row of the trial with the largest objective, those aside that failed or collapsed."""
        able = [row for trial, row in self._last.items() if self._states.get(trial) not in OUT and _known(row)]
        return max(able, key=lambda row: float(row["objective"]), default=None)

    def seconds_left(self, now: float) -> float | None:
        """At the speed until now, running trials counted by their epochs; None before anything is done."""
        began, before = self._started or (self._made, 0.0)
        gained = self._done() - before
        if gained <= 0:
            return None
        return (now - began) / gained * max(self.trials - self._done(), 0.0)

    def _done(self) -> float:
        """In whole trials; one that was stopped early leaves as little to do as one that finished."""
        return self.ended + sum(float(row["epoch"]) for row in self.running.values()) / self.epochs


def _known(row: Mapping[str, Any]) -> bool:
    return row["objective"] is not None and math.isfinite(row["objective"])
