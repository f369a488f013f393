"""Where the time of a training loop goes."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager


class Stopwatch:
    """Seconds by part. Of a part within another each second counts to the inner one alone.

    On a GPU, whose work is waited for later than it is asked for, a second may count to whoever waits.

    Attributes:
        seconds: so far, by part.
    """

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._inside: list[float] = []  # of each part that is open, seconds of those within it

    @contextmanager
    def __call__(self, part: str) -> Iterator[None]:
        """Counts what happens inside to ``part``."""
        began = time.perf_counter()
        self._inside.append(0.0)
        try:
            yield
        finally:
            whole = time.perf_counter() - began
            self.seconds[part] = self.seconds.get(part, 0.0) + whole - self._inside.pop()
            if self._inside:
                self._inside[-1] += whole
