"""Rows from the workers to whoever watches: an actor that holds those that were not read yet."""

from __future__ import annotations

from collections import deque
from typing import Any, Protocol

Row = dict[str, Any]


class Board(Protocol):
    """Takes progress rows, and does not make whoever posts them wait."""

    def post(self, row: Row) -> None: ...


class ProgressBoard:
    """Gives its one reader every row once. Runs as an actor, and needs neither PyTorch nor Ray to be one.

    Args:
        most: rows that are kept for a reader who does not come; the oldest go first.
    """

    def __init__(self, most: int = 10_000) -> None:
        self._rows: deque[Row] = deque(maxlen=most)
        self._posted = 0

    def post(self, row: Row) -> None:
        """Adds a row."""
        self._rows.append(row)
        self._posted += 1

    def read(self, seen: int) -> tuple[int, list[Row]]:
        """How many rows were posted in all, and those among them that come after the first ``seen``.

        Whoever has seen them needs them no more: they are forgotten.
        """
        while self._rows and self._posted - len(self._rows) < seen:
            self._rows.popleft()
        return self._posted, list(self._rows)

    @property
    def kept(self) -> int:
        """How many rows are there."""
        return len(self._rows)
