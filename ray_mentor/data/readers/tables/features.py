"""Numeric columns of a table as one array."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from ray_mentor.data.memory import require_memory
from ray_mentor.data.readers.tables.table import Stream, Table
from ray_mentor.data.samples.inputs import FeatureInputs
from ray_mentor.errors import UserError

MOST = 2**24
"""float32 holds every integer up to this, and not the next."""


def read_features(table: Table, columns: tuple[str, ...]) -> FeatureInputs:
    """float32 (N, F), columns in the order given.

    Raises:
        UserError: as :func:`feature_parts`, or too much for the memory.
    """
    size = len(table) * len(columns) * np.dtype(np.float32).itemsize
    require_memory(
        size,
        f"{len(table):,} rows of {len(columns)} features",
        "name fewer feature_columns, split the data, or give --data-backend arrow",
    )
    values = np.empty((len(table), len(columns)), np.float32)
    done = 0
    for part in feature_parts(table, columns):
        values[done : done + len(part)] = part
        done += len(part)
    return FeatureInputs(values)


def feature_parts(table: Stream, columns: tuple[str, ...]) -> Iterator[NDArray[np.float32]]:
    """The rows in order, float32 (some, F): features are amounts, whatever type a column has.

    Raises:
        UserError: null, NaN, beyond float32, or integers that it can't tell apart, naming column, file, row and sample
            id; when all rows have been seen.
    """
    bad: list[tuple[int, int]] = []
    merged: list[tuple[int, int]] = []
    for first, batch in table.batches(list(columns)):
        part = _as_float32(batch, columns)
        rows, places = np.nonzero(~np.isfinite(part))
        bad += zip((first + rows).tolist(), places.tolist(), strict=True)
        merged += ((first + row, place) for row, place in _merged(batch, columns))
        yield part
    if bad:
        row, column = bad[0]
        raise UserError(
            f"feature {columns[column]!r} in {table.place(row)} is missing, NaN or too large for float32, "
            f"but every feature must be a finite number; fill it in or leave the row out ({len(bad)} such)"
        )
    if merged:
        row, column = merged[0]
        raise UserError(
            f"feature {columns[column]!r} in {table.place(row)} is an integer beyond 2**24, but features are float32, "
            f"which can't tell such apart; leave an id out with ignore_columns, or store an amount as floats "
            f"({len(merged)} such)"
        )


def _as_float32(batch: pa.RecordBatch, columns: tuple[str, ...]) -> NDArray[np.float32]:
    part = np.empty((len(batch), len(columns)), np.float32)
    for place, name in enumerate(columns):
        with np.errstate(over="ignore"):  # becomes infinite, which is reported
            part[:, place] = _numbers(batch.column(name))
    return part


def _merged(batch: pa.RecordBatch, columns: tuple[str, ...]) -> Iterator[tuple[int, int]]:
    """(row, column) of integers that float32 rounds to others."""
    for place, name in enumerate(columns):
        column = batch.column(name)
        if pa.types.is_integer(column.type) and column.type.byte_width > 2:
            values = column.to_numpy(zero_copy_only=False)
            yield from ((row, place) for row in np.flatnonzero((values > MOST) | (values < -MOST)).tolist())


def _numbers(column: pa.Array) -> np.ndarray:
    numbers: np.ndarray = column.cast(pa.float64(), safe=False).to_numpy(zero_copy_only=False)
    return numbers
