"""When checkpoints are due."""

from __future__ import annotations

import time
from collections.abc import Callable

from ray_mentor.core.exchange import AbstractExchange


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
        self._added = self._looked = time.monotonic()
        self._looked_at, self._look = first, first + 1

    def due(self, step: int, *, ready: bool, ends_epoch: bool = False) -> bool:
        """Whether a checkpoint is due after ``step`` steps. Every rank asks after each step.

        Args:
            ready: False while the run waits for something that no checkpoint holds; it is due as soon as this changes.
            ends_epoch: an epoch ended with this step, and what comes then may have taken any time: measuring splits, or
                what waits at the end of the epoch before.
        """
        if ends_epoch:
            self._look = step
        self._owed |= (self._steps > 0 and step % self._steps == 0) or self._time_is_up(step)
        if step < self._last and not (self._owed and ready):
            return False
        self._owed, self._added = False, time.monotonic()
        return True

    def _time_is_up(self, step: int) -> bool:
        """Asks rank 0, which costs a message; so only about once a second, and the answer says when to ask again."""
        if step < self._look:
            return False
        now = time.monotonic()
        step_seconds = (now - self._looked) / (step - self._looked_at)
        left = self._seconds - (now - self._added)
        ahead = max(1, int(min(1.0, max(left, 0.0)) / max(step_seconds, 1e-9)))
        up, ahead = self._exchange.broadcast((left <= 0, ahead))
        self._looked, self._looked_at, self._look = now, step, step + ahead
        return self._exchange.total(float(self._wished())) > 0 or bool(up)
