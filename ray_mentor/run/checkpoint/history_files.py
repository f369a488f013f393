"""A loss history that is too large for every checkpoint: files of its own, of which most serve many checkpoints.

Each rank writes its own rows, and of them those alone that have changed; all of them when such updates have outgrown
the table. Two checkpoints that follow each other share no file, so that one file which turns out to be damaged costs
one of the two: each goes on from the last but one, with what has changed since then. The files are there before the
checkpoint that names them, and go when none needs them any more.
"""

from __future__ import annotations

import uuid
import zlib
from collections.abc import Collection

from jaxtyping import Int
from torch import Tensor

from ray_mentor.core.exchange import AbstractExchange
from ray_mentor.core.history import pieces as history_pieces
from ray_mentor.core.history.pieces import Content, Piece, pieces_of, table_of
from ray_mentor.core.history.table import LossHistory
from ray_mentor.core.history.touched_rows import TouchedRows
from ray_mentor.run.directory import HISTORY, RunDirectory


class HistoryFiles:
    """Keeps a rank's part of a loss history in a run directory. Every rank calls the same methods."""

    def __init__(self, directory: RunDirectory, exchange: AbstractExchange, history: LossHistory) -> None:
        self._directory = directory
        self._exchange = exchange
        self._history = history
        self._writer = uuid.uuid4().int >> 66
        self._newest: list[Piece] = []  # of the newest checkpoint
        self._before: list[Piece] | None = []  # of the one before it; None: unknown
        self._touched = history.touched = TouchedRows(len(history.own))  # since the newest
        self._touched_before = TouchedRows(len(history.own))  # between the two
        self._named: dict[str, set[str]] = {}
        self._known: set[str] = set()
        directory.create((HISTORY,))

    def load(self, table: Tensor) -> None:
        """Makes the history what these pieces say.

        Raises:
            ValueError: a piece with rows of this rank's is missing, damaged, or holds what no run would write.
        """
        self._history.table.fill_(float("nan"))
        self._newest, self._before = pieces_of(table), None
        history_pieces.check_pieces(self._newest, self._history.n_samples)
        for piece in self._newest:
            if history_pieces.concerns(piece, self._history):
                self._take_up(piece)

    def save(self, step: int) -> Int[Tensor, "pieces facts"]:
        """Writes what has changed, and returns what the history is now made of. A collective call."""
        if self._of_all_ranks(self._touched):
            self._touched_before.add_all(self._touched)
            self._newest, self._before = self._written(step, self._touched_before), self._newest
            self._touched_before.forget()
            self._touched_before, self._touched = self._touched, self._touched_before
            self._history.touched = self._touched
        return table_of(self._newest)

    def _written(self, step: int, touched: TouchedRows) -> list[Piece]:
        """The pieces of the last checkpoint but one, and those that make them the history as it is."""
        earlier, row = self._before or [], 4 * self._history.width
        size = self._of_all_ranks(touched) * (4 + row) + sum(
            piece.size(self._history.width) for piece in earlier if piece.updates
        )
        afresh = self._before is None or size > self._history.n_samples * row
        contents = (
            history_pieces.whole_stretches(self._history) if afresh else history_pieces.updates(self._history, touched)
        )
        own = table_of(self._write(step, content, updates=not afresh) for content in contents)
        written = pieces_of(self._exchange.gather_any(own))
        return written if afresh else [*earlier, *written]

    def _of_all_ranks(self, touched: TouchedRows) -> int:
        return int(self._exchange.total(len(touched)))

    def find(self) -> None:
        """Counts all files that are there as those of checkpoints, which :meth:`keep` removes if none names them."""
        self._known = set(self._directory.names(HISTORY))

    def note(self, checkpoint: str, table: Tensor | None) -> None:
        """Remembers what a checkpoint names."""
        self._named[checkpoint] = names_in(table)
        self._known |= self._named[checkpoint]

    def keep(self, checkpoints: Collection[str]) -> None:
        """Removes what other checkpoints named, and neither these nor the next one will."""
        self._named = {name: pieces for name, pieces in self._named.items() if name in checkpoints}
        needed = {piece.name for piece in self._before or []}.union(*self._named.values())
        for name in self._known - needed:
            self._directory.remove(f"{HISTORY}/{name}")
        self._known = needed

    def _write(self, step: int, content: Content, *, updates: bool) -> Piece:
        checksum = zlib.crc32(content.data)
        piece = Piece(int(updates), step, content.first, content.stop, content.count, self._writer, checksum)
        self._directory.write(f"{HISTORY}/{piece.name}", content.data)
        return piece

    def _take_up(self, piece: Piece) -> None:
        size = piece.size(self._history.width)
        data = self._directory.read(f"{HISTORY}/{piece.name}", at_most=size + 1)
        if data is None:
            raise ValueError(f"its {HISTORY}/{piece.name} is missing")
        if len(data) != size or zlib.crc32(data) != piece.checksum:
            raise ValueError(f"its {HISTORY}/{piece.name} is damaged")
        history_pieces.take_up(piece, data, self._history)


def names_in(table: Tensor | None) -> set[str]:
    """The files that a checkpoint names beside itself.

    Raises:
        ValueError: anything but what a checkpoint says of its loss history.
    """
    return set() if table is None else {piece.name for piece in pieces_of(table)}


def check_there(directory: RunDirectory, table: Tensor | None) -> None:
    """Raises a ValueError if one of the files is missing that a checkpoint names."""
    names = names_in(table)
    missing = sorted(names - set(directory.names(HISTORY))) if names else []
    if missing:
        raise ValueError(f"its {HISTORY}/{missing[0]} is missing")
