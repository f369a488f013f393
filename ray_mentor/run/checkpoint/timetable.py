"""When checkpoints are due."""

from __future__ import annotations

import time
from collections.abc import Callable

from ray_mentor.core.exchange import AbstractExchange

AHEAD = 50
"""Steps from one look at rank 0's watch to the next at most: those to come may take longer than those before, which no
rank can say for all without a message."""


class Timetable:
    """When checkpoints are due: after every so many steps, or seconds on rank 0's watch, and at the end.

    Args:
        seconds: between two; 0: after every step.
        steps: between two; 0: by the seconds alone.
        last: the run's last step.
        first: the step that the run goes on from.
        wished: asked about once a second: whether this rank wants one now.
    """

    def __init__(
        self,
        seconds: float,
        steps: int,
        first: int,
        last: int,
        exchange: AbstractExchange,
        wished: Callable[[], bool] = lambda: False,
    ) -> None:
        self._seconds = seconds
        self._steps = steps
        self._last = last
        self._exchange = exchange
        self._wished = wished
        self._owed = False
        self._added = self._looked = self._look_by = time.monotonic()
        self._looked_at, self._look = first, first + 1

    def due(self, step: int, *, ready: bool, ends_epoch: bool = False) -> bool:
        """Whether a checkpoint is due after ``step`` steps. Every rank asks after each step.

        Args:
            ready: False while the run waits for something that no checkpoint holds; it is due as soon as this changes.
            ends_epoch: an epoch ended with this step, and what comes then may have taken any time: measuring splits, or
                what waits at the end of the epoch before.
        """
        is_step = self._steps > 0 and step % self._steps == 0
        self._owed |= is_step or ((ends_epoch or self._is_to_look(step)) and self._time_is_up(step))
        if step < self._last and not (self._owed and ready):
            return False
        self._owed, self._added = False, time.monotonic()
        return True

    def _is_to_look(self, step: int) -> bool:
        return time.monotonic() >= self._look_by if self._exchange.world_size == 1 else step >= self._look

    def _time_is_up(self, step: int) -> bool:
        """Asks rank 0, which costs a message; so only about once a second, and the answer says when to ask again."""
        now = time.monotonic()
        step_seconds = (now - self._looked) / (step - self._looked_at)
        left = self._seconds - (now - self._added)
        wait = min(1.0, max(left, 0.0))
        ahead = min(AHEAD, max(1, int(wait / max(step_seconds, 1e-9))))
        up, ahead = self._exchange.broadcast((left <= 0, ahead))
        self._looked, self._look_by = now, now + wait
        self._looked_at, self._look = step, step + ahead
        return self._exchange.total(float(self._wished())) > 0 or bool(up)
