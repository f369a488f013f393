"""A loss history cut into pieces that are written and read one by one, whoever owns which rows by then.

A history is made of whole stretches of rows, which cover them all or none, and of updates: the rows that were written
to between two checkpoints, with the past that they had at the second. The value of a row is what the last piece that
holds it says; NaN where there is none.

What a piece holds is numbers alone, little-endian: of updates the rows, counted from its first one (uint32), then,
of either kind, the pasts (float32, row by row, newest first).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Int
from torch import Tensor

from ray_mentor.core.history.table import LossHistory
from ray_mentor.core.history.touched_rows import TouchedRows

PIECE_BYTES = 32 << 20
"""The largest piece: what writing or reading takes beside the table."""


@dataclass(frozen=True)
class Piece:
    """What a checkpoint says of a piece.

    Attributes:
        updates: 1 for updates, 0 for a whole stretch.
        step: steps done when it was written.
        first: its first row.
        stop: the row behind its last one.
        count: rows that it holds.
        writer: who wrote it, a random number: two that take themselves for the run's write no common file.
        checksum: CRC-32 of its content.
    """

    updates: int
    step: int
    first: int
    stop: int
    count: int
    writer: int
    checksum: int

    @property
    def name(self) -> str:
        """Of its file."""
        kind = "updates" if self.updates else "whole"
        return f"step-{self.step:012d}-row-{self.first:012d}-{self.writer:016x}.{kind}"

    def size(self, width: int) -> int:
        """Bytes of its content."""
        return self.count * (4 * width + 4 * self.updates)


@dataclass(frozen=True)
class Content:
    """A piece that is not written yet: rows first to stop, of which it holds so many."""

    first: int
    stop: int
    count: int
    data: bytes


def whole_stretches(history: LossHistory) -> Iterator[Content]:
    """The past of all own rows."""
    each = _rows_of(4 * history.width)
    table = history.table.cpu().numpy()
    for start in range(0, len(table), each):
        part = table[start : start + each]
        first = history.own.start + start
        yield Content(first, first + len(part), len(part), part.astype("<f4", copy=False).tobytes())


def updates(history: LossHistory, touched: TouchedRows) -> Iterator[Content]:
    """The past of those own rows."""
    rows, each = touched.rows(), _rows_of(4 * history.width + 4)
    table = history.table.cpu().numpy()
    for start in range(0, len(rows), each):
        part = rows[start : start + each]
        data = (part - part[0]).astype("<u4", copy=False).tobytes() + table[part].astype("<f4", copy=False).tobytes()
        first, last = (history.own.start + int(row) for row in (part[0], part[-1]))
        yield Content(first, last + 1, len(part), data)


def take_up(piece: Piece, data: bytes, history: LossHistory) -> None:
    """Puts the pasts of own rows where they belong.

    Raises:
        ValueError: content that no run would have written.
    """
    pasts_at = 4 * piece.count * piece.updates
    pasts = np.frombuffer(data, "<f4", offset=pasts_at).reshape(piece.count, history.width)
    if np.isinf(pasts).any():
        raise ValueError("it holds losses that are not finite")
    table, offset = history.table, piece.first - history.own.start
    if not piece.updates:
        start, stop = max(offset, 0), min(offset + piece.count, len(table))
        table[start:stop] = torch.tensor(pasts[start - offset : stop - offset]).to(table)
        return
    listed = np.frombuffer(data, "<u4", count=piece.count).astype(np.int64)
    if (listed >= piece.stop - piece.first).any():
        raise ValueError("it holds rows that are not its own")
    rows = listed + offset
    own = (rows >= 0) & (rows < len(table))
    table[torch.from_numpy(rows[own]).to(table.device)] = torch.tensor(pasts[own]).to(table)


def concerns(piece: Piece, history: LossHistory) -> bool:
    """Whether it may hold rows of this rank's."""
    return piece.first < history.own.stop and piece.stop > history.own.start


def table_of(pieces: Iterable[Piece]) -> Int[Tensor, "pieces facts"]:
    """The pieces as numbers, a row each."""
    rows = [dataclasses.astuple(piece) for piece in pieces]
    return torch.tensor(rows, dtype=torch.int64).reshape(-1, _FACTS)


def pieces_of(table: Any) -> list[Piece]:
    """The inverse of :func:`table_of`.

    Raises:
        ValueError: anything else.
    """
    is_table = isinstance(table, Tensor) and table.dtype == torch.int64 and table.ndim == 2
    if not is_table or table.shape[1] != _FACTS:
        raise ValueError("what it says of its loss history is no table of pieces")
    return [Piece(*row) for row in table.tolist()]


def check_pieces(pieces: Sequence[Piece], samples: int) -> None:
    """Raises a ValueError if the history of so many samples can't be made of these."""
    if not all(map(_is_sound, pieces)) or any(piece.stop > samples for piece in pieces):
        raise ValueError("what it says of its loss history makes no sense")
    _check_cover(pieces, samples)


def _is_sound(piece: Piece) -> bool:
    rows = piece.stop - piece.first
    fits = 0 < piece.count <= rows if piece.updates else 0 < piece.count == rows
    return piece.updates in (0, 1) and piece.first >= 0 and piece.step >= 0 and piece.writer >= 0 and fits


def _check_cover(pieces: Sequence[Piece], samples: int) -> None:
    """Whole stretches come first, and hold each row once; or there are none."""
    wholes = [piece for piece in pieces if not piece.updates]
    ends = [0, *(piece.stop for piece in wholes)]
    joined = all(piece.first == end for piece, end in zip(wholes, ends, strict=False))
    if wholes and not (joined and ends[-1] == samples and list(pieces[: len(wholes)]) == wholes):
        raise ValueError(f"the whole stretches of its loss history do not make up {samples} samples")


def _rows_of(row_bytes: int) -> int:
    return max(1, PIECE_BYTES // row_bytes)


_FACTS = len(dataclasses.fields(Piece))
