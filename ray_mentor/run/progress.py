"""Rows from the workers to whoever watches: an actor that holds a list."""

from __future__ import annotations

from typing import Any, Protocol

Row = dict[str, Any]


class Board(Protocol):
    """Takes progress rows, and does not make whoever posts them wait."""

    def post(self, row: Row) -> None: ...


class ProgressBoard:
    """Append-only; readers ask for what is new. Runs as an actor, and needs neither PyTorch nor Ray to be one."""

    def __init__(self) -> None:
        self._rows: list[Row] = []

    def post(self, row: Row) -> None:
        """Adds a row."""
        self._rows.append(row)

    def read(self, start: int) -> list[Row]:
        """The rows from number ``start`` on."""
        return self._rows[start:]
