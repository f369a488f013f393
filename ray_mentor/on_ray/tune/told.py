"""What the trials of a sweep have told, epoch by epoch; kept in a file, so that an interrupted sweep knows it again."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pandas as pd

from ray_mentor.run.directory import RunDirectory
from ray_mentor.run.progress import Row

FILE = "progress.jsonl"
"""A line a row, as it came."""

CURVE = ("trial", "epoch", "accuracy", "objective", "seconds")

_EVERY = 2.0  # seconds between two writes of the file


class ToldRows:
    """The rows of this sweep's trials, those of before an interruption too.

    Args:
        directory: of the sweep.
    """

    def __init__(self, directory: RunDirectory) -> None:
        self._directory = directory
        self._lines = _whole_lines((directory.read(FILE) or b"").decode())
        self._written = time.monotonic()

    def add(self, row: Row) -> None:
        """Takes a row down."""
        self._lines.append(json.dumps(row))
        if time.monotonic() - self._written > _EVERY:
            self.write()

    @contextmanager
    def kept(self) -> Iterator[None]:
        """Whatever ends what runs inside, the file has it all."""
        try:
            yield
        finally:
            self.write()

    def write(self) -> None:
        """Writes the file."""
        self._directory.write(FILE, "".join(f"{line}\n" for line in self._lines).encode())
        self._written = time.monotonic()

    def table(self) -> pd.DataFrame:
        """A row a trial and epoch; of an epoch that was told twice, after a restart, the later one counts."""
        rows = [row for row in map(json.loads, self._lines) if row["kind"] == "trial"]
        last = {(row["trial"], row["epoch"]): row for row in rows}
        return pd.DataFrame([last[key] for key in sorted(last)], columns=list(CURVE))


def _whole_lines(text: str) -> list[str]:
    return [line for line in text.splitlines() if line]
