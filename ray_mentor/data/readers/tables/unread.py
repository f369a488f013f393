"""Images of a table that nobody asks for, but that may be looked at one by one."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pyarrow as pa
from typing_extensions import override

from ray_mentor.data.readers.formats.listed import ListedImages
from ray_mentor.data.readers.pictures.decode import BrokenImageError, OtherImageError, decode, open_image
from ray_mentor.data.readers.tables.images import bytes_of
from ray_mentor.data.readers.tables.table import Table
from ray_mentor.data.samples.rows import Rows
from ray_mentor.data.samples.unread import Unread


class UnreadImages(Unread):
    """Of a table.

    Args:
        numbers: see :class:`~ray_mentor.data.samples.unread.Unread`.
        table: that they are in.
        column: of it.
        rows: of the table, which of them these are.
    """

    def __init__(self, numbers: Rows, table: Table, column: str, rows: Rows) -> None:
        super().__init__(numbers)
        self.table = table
        self.column = column
        self.rows = rows

    @override
    def select(self, rows: Rows) -> UnreadImages:
        return UnreadImages(self.numbers[rows], self.table, self.column, self.rows[rows])

    def are_broken(self) -> list[bool]:
        """Whether each can't be decoded; they are read and decoded for it.

        Raises:
            UserError: a file that can't be read.
        """
        found = [False] * len(self)
        for file, places, rows in self._by_file():
            part = self.table.files[file].take(rows, [self.column])[self.column]
            for place, data in zip(
                places.tolist(), (each for chunk in part.chunks for each in bytes_of(chunk)), strict=True
            ):
                found[place] = _is_broken(data)
        return found

    def places(self) -> list[str]:
        """How messages name each."""
        return [self.table.place(int(row)) for row in self.rows]

    def paths(self) -> list[str] | None:
        """Of each, as it is written where the images are listed; None where they aren't files of their own."""
        files = self.table.files
        found = [""] * len(self)
        for file, places, rows in self._by_file():
            part = files[file]
            if not isinstance(part, ListedImages):
                return None
            for place, path in zip(places.tolist(), part.paths.take(pa.array(rows)).to_pylist(), strict=True):
                found[place] = path
        return found

    def _by_file(self) -> Iterator[tuple[int, Rows, Rows]]:
        """(file, places among these, rows of the file) of each file that has some."""
        file = np.searchsorted(self.table.starts, self.rows, side="right") - 1
        for number in np.unique(file).tolist():
            places = np.flatnonzero(file == number)
            yield number, places, self.rows[places] - self.table.starts[number]


def _is_broken(data: bytes | None) -> bool:
    try:
        decode(open_image(data), None)
    except BrokenImageError:
        return True
    except OtherImageError:
        pass  # it is whole, and training says what is the matter with it
    return False
