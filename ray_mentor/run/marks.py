"""Where a run's time went."""

from __future__ import annotations

import time
from collections.abc import Callable

from ray_mentor.run.progress import Row

Show = Callable[[Row], None]


class Marks:
    """When a run reached what: the moments between its phases, on the clock of time.time().

    Attributes:
        parts: seconds of rank 0's training by part, said when it ends.
        has_started: whether a first step began; before that a run may be refused.
    """

    def __init__(self, began: float, show: Show) -> None:
        self.began = began
        self.fit = self.ray_ready = self.started = self.ended = time.time()
        self.has_started = False
        self.parts: dict[str, float] = {}
        self._show = show

    def show(self, row: Row) -> None:
        """Notes the moment of a progress row, and passes it on."""
        if row["kind"] == "started":
            self.started, self.has_started = row["at"], True
        if row["kind"] == "ended":
            self.parts = dict(row.get("part_seconds", {}))
        self.ended = time.time()
        self._show(row)

    def phases(self) -> dict[str, float]:
        """Seconds per phase, in order; they add up to the wall time so far."""
        moments = [self.began, self.fit, self.ray_ready, self.started, self.ended, time.time()]
        names = ("prepare", "start_ray", "start_workers", "train", "finish")
        return {name: end - start for name, start, end in zip(names, moments[:-1], moments[1:], strict=True)}
