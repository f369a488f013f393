"""Inputs that stay where they are stored, more than a machine holds, and are streamed in the order of a plan."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from typing_extensions import override

from ray_mentor.data.memory import require_memory
from ray_mentor.data.plan.batches import Plan, rank_slice
from ray_mentor.data.plan.order import AbstractOrder, Shuffled, Windowed
from ray_mentor.data.samples.draws import TRAINED
from ray_mentor.data.samples.inputs import AbstractArrayInputs
from ray_mentor.data.samples.rows import AbstractRows, Rows
from ray_mentor.data.samples.samples import Samples
from ray_mentor.data.storage.in_order import in_order
from ray_mentor.data.storage.spread import Spread

_SHARES_HELD = 5  # of a window, that a worker needs room for at least: one in use, one being made, three waiting


class AbstractStorage(ABC):
    """Where rows are stored, group by group: rows of one are read together. It can be pickled.

    Attributes:
        row_shape: of a row.
        dtype: of its values.
    """

    row_shape: tuple[int, ...]
    dtype: np.dtype[Any]

    @abstractmethod
    def groups_of(self, rows: Rows) -> Rows:
        """The number of the group that each row lies in."""

    @abstractmethod
    def read(self, rows: Rows) -> NDArray[Any]:
        """Those rows, in that order.

        Raises:
            UserError: they can't be read, or are not what they were.
        """

    @abstractmethod
    def repeated(self, repeats: int) -> AbstractStorage:
        """The same rows, each number along the last axis repeated."""

    @property
    def row_bytes(self) -> int:
        """Of a row in memory."""
        return math.prod(self.row_shape) * self.dtype.itemsize


class StoredArray(AbstractRows):
    """Rows of a storage; a choice of them is another one, and nothing is read before it is asked for.

    Pickled, it leaves behind what is known of its rows.

    Args:
        storage: has the values.
        known: what was found out about all rows of the storage, by name.
        rows: of the storage, int64 (n,).
        shuffle_rows: of a window in which an epoch is shuffled.
    """

    def __init__(
        self, storage: AbstractStorage, known: Mapping[str, NDArray[Any]], rows: Rows, shuffle_rows: int
    ) -> None:
        self.storage = storage
        self.rows = rows
        self.shape = (len(rows), *storage.row_shape)
        self.dtype = storage.dtype
        self.shuffle_rows = shuffle_rows
        self._known = known

    @override
    def __getitem__(self, rows: Rows | slice) -> NDArray[Any]:
        return self.storage.read(self.rows[rows])

    @override
    def __reduce__(self) -> tuple[Any, ...]:
        return StoredArray, (self.storage, {}, self.rows, self.shuffle_rows)

    @override
    def beside(self, name: str, rows: Rows | slice = slice(None)) -> NDArray[Any]:
        return self._known[name][self.rows[rows]]

    @override
    def select(self, rows: Rows) -> StoredArray:
        return StoredArray(self.storage, self._known, self.rows[rows], self.shuffle_rows)

    @override
    def repeat(self, repeats: int, axis: int) -> StoredArray:
        assert axis == self.ndim - 1
        return StoredArray(self.storage.repeated(repeats), self._known, self.rows, self.shuffle_rows)

    def order(self) -> Windowed:
        """The order in which an epoch goes through these rows: those of a group are near each other."""
        ends = np.flatnonzero(np.diff(self.storage.groups_of(self.rows), append=-1)) + 1
        return Windowed(np.diff(ends, prepend=0), self.shuffle_rows)


@dataclass(frozen=True)
class Fetch:
    """Reads a part's rows: a table of ``row`` and ``value``, its bytes."""

    storage: AbstractStorage

    def __call__(self, rows: Rows) -> pa.Table:
        values = np.ascontiguousarray(self.storage.read(rows))
        kind = pa.binary(self.storage.row_bytes)
        stored = pa.Array.from_buffers(kind, len(rows), [None, pa.py_buffer(values)])
        return pa.table({"row": pa.array(rows), "value": stored})


class ArrivingArray(AbstractRows):
    """The rows of a stored array as they come in: asked for in the order in which the stream was told to bring them."""

    def __init__(self, array: StoredArray, stream: Iterator[pa.Table]) -> None:
        self.shape, self.dtype = array.shape, array.dtype
        self._array = array
        self._stream = stream
        self._rows = np.empty(0, np.int64)
        self._values = np.empty((0, *array.storage.row_shape), array.dtype)

    @override
    def __getitem__(self, rows: Rows | slice) -> NDArray[Any]:
        """Those rows.

        Raises:
            RuntimeError: they are not the stream's next.
        """
        wanted = self._array.rows[rows]
        taken = list(self._next(len(wanted)))
        come = np.concatenate([part for part, _ in taken])
        if not np.array_equal(come, wanted):
            raise RuntimeError(f"the stream brought rows {come} where {wanted} were to come")
        return np.concatenate([values for _, values in taken])

    @override
    def beside(self, name: str, rows: Rows | slice = slice(None)) -> NDArray[Any]:
        return self._array.beside(name, rows)

    @override
    def select(self, rows: Rows) -> ArrivingArray:
        raise AssertionError("rows that arrive can't be chosen")

    @override
    def repeat(self, repeats: int, axis: int) -> ArrivingArray:
        raise AssertionError("rows that arrive are in the colours that they have")

    def _next(self, count: int) -> Iterator[tuple[Rows, NDArray[Any]]]:
        while count > 0:
            if len(self._rows) == 0:
                self._open(next(self._stream))
            yield self._rows[:count], self._values[:count]
            count, self._rows, self._values = count - len(self._rows[:count]), self._rows[count:], self._values[count:]

    def _open(self, piece: pa.Table) -> None:
        self._rows = piece["row"].to_numpy()
        values = piece["value"].combine_chunks()
        data = np.frombuffer(values.buffers()[1], self.dtype)
        row = math.prod(self.shape[1:])
        start = values.offset * row
        self._values = data[start : start + len(values) * row].reshape(len(values), *self.shape[1:])


def order_of(samples: Samples) -> AbstractOrder:
    """The order in which an epoch goes through the samples: shuffled, as far as where they are stored allows."""
    array = _stored(samples)
    return Shuffled(len(samples)) if array is None else array.order()


def held(samples: Samples) -> Samples:
    """The same samples with their inputs in memory.

    Raises:
        UserError: they don't fit.
    """
    array = _stored(samples)
    if array is None:
        return samples
    what = f"the {len(samples):,} samples of a split that is held out of the training split"
    require_memory(len(array) * array.storage.row_bytes, what, "lower --meta-size, --validation-share, --test-share")
    return samples.with_inputs(_inputs(samples).holding(array[:]))


@contextmanager
def in_plan_order(
    samples: Samples, plan: Plan, first: int, rank: int, world_size: int, spread: Spread
) -> Iterator[Samples]:
    """The samples for a rank that takes its share of the plan's batches one by one from step ``first`` on.

    Those in memory stay as they are; stored ones, and those of a data set that has readers, are on their way to the
    rank before it asks.
    """
    array = _stored(samples)
    if array is None:
        steps = enumerate(plan.steps(first), first)
        parts = ((rank_slice(rows, rank, world_size), (plan.seed, TRAINED, step, rank)) for step, (_, rows, _) in steps)
        with in_order(samples.inputs, parts) as inputs:
            yield samples.with_inputs(inputs)
        return
    size = window_bytes(array, world_size)
    require_memory(
        _SHARES_HELD * size,
        f"windows of {array.order().largest:,} training samples over {world_size} workers",
        "lower --shuffle-rows, or write the Parquet in smaller row groups",
    )
    stored = (array.rows[part] for part in rank_parts(plan, first, rank, world_size))
    stream: Any = spread(Fetch(array.storage), stored, size)
    with closing(stream):
        yield samples.with_inputs(_inputs(samples).holding(ArrivingArray(array, stream)))


def rank_parts(plan: Plan, first: int, rank: int, world_size: int) -> Iterator[Rows]:
    """The rows that a rank takes from step ``first`` on, in order, cut where the plan's windows end."""
    start, done = divmod(first, plan.epoch_steps)
    for epoch in range(start, plan.epochs):
        windows = plan.order.windows(plan.seed, epoch)
        rows, ends = np.concatenate(windows), np.cumsum([len(window) for window in windows])
        batches = np.array_split(np.arange(len(rows)), plan.epoch_steps)[done:]
        own = np.concatenate([rank_slice(batch, rank, world_size) for batch in batches])
        cuts = np.searchsorted(own, ends[:-1])
        yield from (part for part in np.split(rows[own], cuts) if len(part))
        done = 0


def window_bytes(array: StoredArray, world_size: int) -> int:
    """Memory that a rank's share of a window takes, at most."""
    return -(-array.order().largest // world_size) * array.storage.row_bytes


def _stored(samples: Samples) -> StoredArray | None:
    inputs = samples.inputs
    values = inputs.values if isinstance(inputs, AbstractArrayInputs) else None
    return values if isinstance(values, StoredArray) else None


def _inputs(samples: Samples) -> AbstractArrayInputs:
    assert isinstance(samples.inputs, AbstractArrayInputs)
    return samples.inputs
