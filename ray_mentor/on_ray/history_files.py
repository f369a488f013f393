"""A loss history that is too large for every checkpoint: files of its own, of which most serve many checkpoints.

Each rank writes its own rows, and of them those alone that were written to since the last checkpoint; all of them
when such updates have outgrown the table. The files are there before the checkpoint that names them, and go when no
checkpoint names them any more.
"""

from __future__ import annotations

import uuid
import zlib
from collections.abc import Collection

from jaxtyping import Int
from torch import Tensor

from ray_mentor.core import history_pieces
from ray_mentor.core.exchange import AbstractExchange
from ray_mentor.core.history import LossHistory
from ray_mentor.core.history_pieces import Content, Piece, pieces_of, table_of
from ray_mentor.core.touched_rows import TouchedRows
from ray_mentor.data.run_directory import HISTORY, RunDirectory


class HistoryFiles:
    """Keeps a rank's part of a loss history in a run directory. Every rank calls the same methods."""

    def __init__(self, directory: RunDirectory, exchange: AbstractExchange, history: LossHistory) -> None:
        self._directory = directory
        self._exchange = exchange
        self._history = history
        self._writer = uuid.uuid4().int >> 66
        self._pieces: list[Piece] = []
        self._touched = history.touched = TouchedRows(len(history.own))
        self._named: dict[str, set[str]] = {}
        self._known: set[str] = set()
        directory.create((HISTORY,))

    def load(self, table: Tensor) -> None:
        """Makes the history what these pieces say.

        Raises:
            ValueError: a piece with rows of this rank's is missing, damaged, or holds what no run would write.
        """
        self._history.table.fill_(float("nan"))
        self._pieces = pieces_of(table)
        history_pieces.check_pieces(self._pieces, self._history.n_samples)
        for piece in self._pieces:
            if history_pieces.concerns(piece, self._history):
                self._take_up(piece)

    def save(self, step: int) -> Int[Tensor, "pieces facts"]:
        """Writes what has changed, and returns what the history is now made of. A collective call."""
        length = self._history.length
        new = int(self._exchange.total(len(self._touched))) * (4 + 4 * length)
        old = sum(piece.size(length) for piece in self._pieces if piece.updates)
        afresh = new + old > self._history.n_samples * 4 * length
        contents = history_pieces.whole_stretches if afresh else history_pieces.updates
        own = table_of(self._write(step, content, updates=not afresh) for content in contents(self._history))
        written = pieces_of(self._exchange.gather_any(own))
        self._pieces = written if afresh else [*self._pieces, *written]
        self._touched.forget()
        return table_of(self._pieces)

    def find(self) -> None:
        """Counts all files that are there as those of checkpoints, which :meth:`keep` removes if none names them."""
        self._known = set(self._directory.names(HISTORY))

    def note(self, checkpoint: str, table: Tensor | None) -> None:
        """Remembers what a checkpoint names."""
        self._named[checkpoint] = names_in(table)
        self._known |= self._named[checkpoint]

    def keep(self, checkpoints: Collection[str]) -> None:
        """Removes what was named by other checkpoints alone."""
        self._named = {name: pieces for name, pieces in self._named.items() if name in checkpoints}
        needed = set[str]().union(*self._named.values())
        for name in self._known - needed:
            self._directory.remove(f"{HISTORY}/{name}")
        self._known = needed

    def _write(self, step: int, content: Content, *, updates: bool) -> Piece:
        checksum = zlib.crc32(content.data)
        piece = Piece(int(updates), step, content.first, content.stop, content.count, self._writer, checksum)
        self._directory.write(f"{HISTORY}/{piece.name}", content.data)
        return piece

    def _take_up(self, piece: Piece) -> None:
        size = piece.size(self._history.length)
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
