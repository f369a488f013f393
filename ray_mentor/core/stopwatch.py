"""Where the time of a training loop goes."""

from __future__ import annotations

import time
from contextlib import AbstractContextManager


class Stopwatch:
    """Seconds by part. Of a part within another each second counts to the inner one alone.

    On a GPU, whose work is waited for later than it is asked for, a second may count to whoever waits.

    Attributes:
        seconds: so far, by part.
    """

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._inside: list[float] = []  # of each part that is open, seconds of those within it

    def __call__(self, part: str) -> AbstractContextManager[None]:
        """Counts what happens inside to ``part``."""
        return _Open(self.seconds, self._inside, part)


class _Open(AbstractContextManager[None]):
    """A part that is open."""

    def __init__(self, seconds: dict[str, float], inside: list[float], part: str) -> None:
        self._seconds, self._inside, self._part = seconds, inside, part

    def __enter__(self) -> None:
        self._began = time.perf_counter()
        self._inside.append(0.0)

    def __exit__(self, *_: object) -> None:
        whole = time.perf_counter() - self._began
        self._seconds[self._part] = self._seconds.get(self._part, 0.0) + whole - self._inside.pop()
        if self._inside:
            self._inside[-1] += whole
