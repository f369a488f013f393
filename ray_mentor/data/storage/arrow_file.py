"""An Arrow file whose rows are read at random through a memory map: fixed-size values, and what is known of each.

Processes of one machine that map a file share one copy of it, the system's page cache. Arrow's format holds data
alone: what is in a file is checked before it is used, and nothing in it is ever executed.
"""

from __future__ import annotations

import math
import mmap
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import chain
from typing import Any, BinaryIO

import numpy as np
import pyarrow as pa
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from ray_mentor.data.samples.rows import Rows

Part = Mapping[str, NDArray[Any]]
"""Some rows of each column."""

_IDENTITY = b"ray_mentor"
_BATCH_BYTES = 2**25


class DamagedFileError(Exception):
    """The file is not what its name says: cut off, changed, or written by another version."""


@dataclass(frozen=True, eq=False)
class _Column:
    """Where the rows of a column lie: ``starts[b]`` is the byte of its first one in record batch b."""

    starts: NDArray[np.int64]
    shape: tuple[int, ...]
    dtype: np.dtype[Any]

    @property
    def row_bytes(self) -> int:
        return math.prod(self.shape) * self.dtype.itemsize


class ArrowFile:
    """A file opened for reading.

    Args:
        path: of the file.
        identity: what :func:`write_arrow` was told.

    Raises:
        DamagedFileError: there is another identity or none in it, or it is not whole.
        OSError: it isn't there, or can't be read.
    """

    def __init__(self, path: str | os.PathLike[str], identity: str) -> None:
        with open(path, "rb") as file:
            try:
                self._memory = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
            except ValueError:
                raise DamagedFileError("it is empty") from None
        try:
            self._read_layout(identity)
        except (pa.ArrowException, MemoryError, OSError, ValueError, OverflowError) as error:
            raise DamagedFileError((str(error).splitlines() or [type(error).__name__])[0]) from error

    def __len__(self) -> int:
        return int(self._firsts[-1])

    @property
    def layout(self) -> dict[str, tuple[tuple[int, ...], np.dtype[Any]]]:
        """Shape and dtype of one row of each column."""
        return {name: (column.shape, column.dtype) for name, column in self._columns.items()}

    def read(self, name: str, rows: Rows) -> NDArray[Any]:
        """A copy of those rows of a column, in memory that the caller owns."""
        column = self._columns[name]
        batch = np.searchsorted(self._firsts, rows, side="right") - 1
        places = column.starts[batch] + (rows - self._firsts[batch]) * column.row_bytes
        self._fetch(places, column.row_bytes)
        # Every run of row_bytes bytes of the file is a row of this view, so the places of rows are its indices.
        windows = sliding_window_view(np.frombuffer(self._memory, np.uint8), column.row_bytes)
        values: NDArray[Any] = windows[places].view(column.dtype).reshape(len(rows), *column.shape)
        return values

    def _fetch(self, places: Rows, size: int) -> None:
        """Lets the system read the pages of all these rows at once; touching them makes it wait for one at a time."""
        if len(places) == 0:
            return
        places = np.sort(places)
        first, last = places // mmap.PAGESIZE, (places + size - 1) // mmap.PAGESIZE
        gaps = np.flatnonzero(first[1:] > last[:-1] + 1)
        starts, ends = first[np.append(0, gaps + 1)], last[np.append(gaps, -1)] + 1
        for start, end in zip((starts * mmap.PAGESIZE).tolist(), (ends * mmap.PAGESIZE).tolist(), strict=True):
            self._memory.madvise(mmap.MADV_WILLNEED, start, end - start)

    def _read_layout(self, identity: str) -> None:
        buffer = pa.py_buffer(self._memory)
        reader = pa.ipc.open_file(pa.BufferReader(buffer))
        if (reader.schema.metadata or {}).get(_IDENTITY) != identity.encode():
            raise ValueError("it was made of other data, or by another version")
        kinds = {field.name: _row_of(field.type) for field in reader.schema}
        starts: dict[str, list[int]] = {name: [] for name in kinds}
        counts = [0]
        for number in range(reader.num_record_batches):
            batch = reader.get_batch(number)
            counts.append(batch.num_rows)
            for name, (shape, dtype) in kinds.items():
                size = batch.num_rows * math.prod(shape) * dtype.itemsize
                starts[name].append(_start(buffer, batch.column(name), size))
        self._firsts = np.cumsum(counts)
        self._columns = {name: _Column(np.array(starts[name], np.int64), *kinds[name]) for name in kinds}


def write_arrow(file: BinaryIO, parts: Iterable[pa.Table], identity: str) -> None:
    """Writes rows, part by part, all of one layout.

    Args:
        file: empty, open for writing.
        parts: at least one, see :func:`as_table`.
        identity: what the file is made of.
    """
    tables = _grouped(parts)
    first = next(tables)
    schema = first.schema.with_metadata({_IDENTITY: identity})
    with pa.ipc.new_file(file, schema) as writer:
        for table in chain([first], tables):
            writer.write_table(table.cast(schema))


def as_table(part: Part) -> pa.Table:
    """Arrays of (rows, ...) by column, bytes of a fixed length or numbers with a further axis, as Arrow has them."""
    return pa.table({name: _arrow(np.ascontiguousarray(values)) for name, values in part.items()})


def _grouped(parts: Iterable[pa.Table]) -> Iterator[pa.Table]:
    """So many parts at a time as make a record batch: to open a file, the head of each has to be read."""
    group: list[pa.Table] = []
    size = 0
    for part in parts:
        group.append(part)
        size += part.nbytes
        if size >= _BATCH_BYTES:
            yield pa.concat_tables(group).combine_chunks()
            group, size = [], 0
    if group:
        yield pa.concat_tables(group).combine_chunks()


def _arrow(values: NDArray[Any]) -> pa.Array:
    if values.dtype.kind == "S":
        kind = pa.binary(values.dtype.itemsize)
        return pa.Array.from_buffers(kind, len(values), [None, pa.py_buffer(values)])
    numbers = pa.array(values.ravel())
    kind = pa.fixed_shape_tensor(numbers.type, values.shape[1:])
    return pa.ExtensionArray.from_storage(kind, pa.FixedSizeListArray.from_arrays(numbers, values[0].size))


def _row_of(kind: pa.DataType) -> tuple[tuple[int, ...], np.dtype[Any]]:
    """Shape and dtype of a row of a column; the inverse of :func:`_arrow`."""
    if pa.types.is_fixed_size_binary(kind):
        return (), np.dtype(f"S{kind.byte_width}")
    if isinstance(kind, pa.FixedShapeTensorType) and pa.types.is_primitive(kind.value_type):
        shape = tuple(kind.shape)
        if kind == pa.fixed_shape_tensor(kind.value_type, shape):
            return shape, np.dtype(kind.value_type.to_pandas_dtype())
    raise ValueError(f"a column is {kind}")


def _start(memory: pa.Buffer, column: pa.Array, size: int) -> int:
    """Where the ``size`` bytes of a column lie; they are read from there without asking Arrow again."""
    data = column.buffers()[-1]
    start = 0 if data is None else data.address - memory.address
    if (data is None and size) or start < 0 or start + size > memory.size:
        raise ValueError("it is cut off, or compressed")
    return start
