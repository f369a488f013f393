"""Arrays whose rows stay in a file until they are asked for."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

import numpy as np
from numpy.typing import NDArray
from typing_extensions import override

from ray_mentor.data.samples.rows import VALUES, AbstractRows, Rows
from ray_mentor.data.storage.arrow_file import ArrowFile


class AbstractSource(ABC):
    """Where the file of an array is, and what it is made of: a small thing that can be pickled."""

    @abstractmethod
    def open(self) -> ArrowFile:
        """The file on this machine; made, if it is not there.

        Raises:
            UserError: it is not there and can't be made.
        """


class MappedArray(AbstractRows):
    """Rows of an array in an Arrow file; a choice of them is another one, without a copy.

    Pickled, it is its source and the rows' numbers: whoever unpickles it maps the file of its own machine.

    Args:
        source: of the file.
        row_shape: of one row as it is stored.
        rows: int64, which rows of the file.
        repeats: how often each number along the last axis is repeated when it is read.
    """

    def __init__(
        self,
        source: AbstractSource,
        row_shape: tuple[int, ...],
        dtype: np.dtype[Any],
        rows: Rows,
        repeats: int = 1,
        file: ArrowFile | None = None,
    ) -> None:
        self.shape = (len(rows), *row_shape[:-1], row_shape[-1] * repeats)
        self.dtype = dtype
        self._row_shape = row_shape
        self._source = source
        self._rows = rows
        self._repeats = repeats
        self._file = file

    @classmethod
    def of(cls, source: AbstractSource, file: ArrowFile) -> MappedArray:
        """All rows of a source's file, which is open."""
        return cls(source, *file.layout[VALUES], np.arange(len(file)), file=file)

    def __getitem__(self, rows: Rows | slice) -> NDArray[Any]:
        """A copy of those rows, which the caller owns."""
        values = self.beside(VALUES, rows)
        return values if self._repeats == 1 else values.repeat(self._repeats, axis=-1)

    def beside(self, column: str, rows: Rows | slice = slice(None)) -> NDArray[Any]:
        """What another column of the file says of those rows."""
        return self.open().read(column, self._rows[rows])

    def select(self, rows: Rows) -> MappedArray:
        """Those rows, in that order."""
        return self._like(self._rows[rows], self._repeats)

    def repeat(self, repeats: int, axis: int) -> MappedArray:
        """As numpy's, along the last axis alone."""
        assert axis == self.ndim - 1
        return self._like(self._rows, repeats * self._repeats)

    def _like(self, rows: Rows, repeats: int) -> MappedArray:
        return MappedArray(self._source, self._row_shape, self.dtype, rows, repeats, self._file)

    def open(self) -> ArrowFile:
        """Maps the file, which the first row that is asked for does otherwise."""
        if self._file is None:
            self._file = self._source.open()
        return self._file

    @override
    def __reduce__(self) -> tuple[Any, ...]:
        return MappedArray, (self._source, self._row_shape, self.dtype, self._rows, self._repeats)
