"""A file of a data set, or what stands for one, as a table: what each format is to the rest."""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from typing import Any, Generic, Self, TypeVar

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from typing_extensions import override

from ray_mentor.data.readers.places import GET_THERE, File, absolute, opened, stamp
from ray_mentor.data.stores import is_far
from ray_mentor.errors import UserError

Rows = NDArray[np.int64]
Identity = list[str | int]

_TAIL_BYTES = 2**16  # of a Parquet file: where its parts lie, how large they are and, mostly, their extremes


class AbstractPart(ABC):
    """Rows in order, by columns, in one file. It can be pickled, and nothing is read before it is asked for.

    Attributes:
        kind: what the format is called in messages.
        file: where the rows are.
    """

    kind: str
    file: File

    def __str__(self) -> str:
        return str(self.file)

    @abstractmethod
    def __len__(self) -> int:
        """How many rows there are."""

    @abstractmethod
    def schema(self) -> pa.Schema:
        """Columns and metadata.

        Raises:
            UserError: it can't be read.
        """

    @abstractmethod
    def about(self, columns: list[str], strings: list[str]) -> pa.Table:
        """Small columns, whole.

        Args:
            strings: those of ``columns`` that hold text, which may come by dictionary.

        Raises:
            UserError: it can't be read.
        """

    @abstractmethod
    def batches(self, columns: list[str], size: int) -> Iterator[pa.RecordBatch]:
        """All rows in order, ``size`` at a time.

        Raises:
            UserError: it can't be read.
        """

    def between(self, start: int, stop: int, columns: list[str], size: int) -> Iterator[pa.RecordBatch]:
        """Rows [start, stop) in order, ``size`` at a time; what comes before them may be read, too.

        Raises:
            UserError: it can't be read.
        """
        first = 0
        for batch in self.batches(columns, size):
            low, high = max(start - first, 0), min(stop - first, len(batch))
            if high > low:
                yield batch.slice(low, high - low)
            first += len(batch)
            if first >= stop:
                return

    def group_sizes(self) -> list[int]:
        """How many rows can be read together and no fewer, group by group.

        Raises:
            UserError: only all of them can.
        """
        raise UserError(
            f"data_backend is 'ray', which reads files in pieces, but {self} is {self.kind}, which is read as a whole; "
            "give --data-backend memory or arrow, or write it as Parquet"
        )

    def take(self, rows: Rows, columns: list[str]) -> pa.Table:
        """Those rows, in that order; each group is read once.

        Raises:
            UserError: it can't be read.
        """
        raise NotImplementedError  # of those without groups

    def place(self, row: int, sample: object) -> str:
        """How an error message names a row."""
        return f"row {row} of {self} (sample id {sample})"

    def absolute(self) -> Self:
        """The same, from whatever folder it is read."""
        return self.at(absolute(self.file))

    @abstractmethod
    def at(self, file: File) -> Self:
        """The same, in another place, and without what was read."""

    def identity(self) -> Identity:
        """What says whether it is what it was.

        Raises:
            OSError: it is not there.
        """
        return [str(absolute(self.file)), *stamp(self.file)]

    def fingerprint(self) -> Identity:
        """The same, and a digest of the end of the file.

        Raises:
            OSError: it is not there.
        """
        size, changed = stamp(self.file)
        with opened(self.file) as file:
            file.seek(max(0, size - _TAIL_BYTES))
            return [str(absolute(self.file)), size, changed, digest(file.read())]


class AbstractDirectPart(AbstractPart):
    """Rows any stretch of which is read by itself."""

    @abstractmethod
    def stretch(self, start: int, stop: int, columns: list[str]) -> pa.Table:
        """Rows [start, stop) in order.

        Raises:
            UserError: they can't be read.
        """

    @override
    def batches(self, columns: list[str], size: int) -> Iterator[pa.RecordBatch]:
        return self.between(0, len(self), columns, size)

    @override
    def between(self, start: int, stop: int, columns: list[str], size: int) -> Iterator[pa.RecordBatch]:
        for first in range(start, stop, size):
            yield from self.stretch(first, min(first + size, stop), columns).combine_chunks().to_batches()


Content = TypeVar("Content")


class AbstractWholePart(AbstractPart, Generic[Content]):
    """A file that is read as a whole, and only once in a process. Pickled, it leaves behind what was read."""

    @abstractmethod
    def read(self) -> Content:
        """All of it.

        Raises:
            UserError: it can't be read.
        """

    @cached_property
    def content(self) -> Content:
        """All of it."""
        return self.read()

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name != "content"}


class AbstractTablePart(AbstractWholePart[pa.Table]):
    """A file that is a table once it is read."""

    @override
    def __len__(self) -> int:
        return len(self.content)

    @override
    def schema(self) -> pa.Schema:
        return self.content.schema

    @override
    def about(self, columns: list[str], strings: list[str]) -> pa.Table:
        return self.content.select(columns)

    @override
    def batches(self, columns: list[str], size: int) -> Iterator[pa.RecordBatch]:
        return self.between(0, len(self), columns, size)

    @override
    def between(self, start: int, stop: int, columns: list[str], size: int) -> Iterator[pa.RecordBatch]:
        return iter(self.content.select(columns).slice(start, stop - start).to_batches(size))


@contextmanager
def reading(file: object, kind: str, fix: str = "it may be cut off or not {kind}, write it anew") -> Iterator[None]:
    """Turns what a broken file makes its reader raise into a UserError that names the file."""
    try:
        yield
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        if is_far(error):
            raise UserError(f"{file} can't be read ({_first_line(error)}); {GET_THERE}") from error
        raise UserError(f"{file} can't be read as {kind} ({_first_line(error)}); {fix.format(kind=kind)}") from error


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]


def digest(data: bytes) -> str:
    """Of some bytes, as text."""
    return hashlib.blake2b(data, digest_size=16).hexdigest()
