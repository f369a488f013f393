"""Numeric columns of a Parquet file as one array."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from ray_mentor.data.inputs import FeatureInputs
from ray_mentor.data.memory import require_memory
from ray_mentor.data.readers.parquet_table import Table
from ray_mentor.errors import UserError


def read_features(table: Table, columns: tuple[str, ...]) -> FeatureInputs:
    """float32 (N, F), columns in the order given.

    Raises:
        UserError: null, NaN, or beyond float32, naming column, file, row and sample id; too much for the memory.
    """
    size = len(table) * len(columns) * np.dtype(np.float32).itemsize
    require_memory(
        size, f"{len(table):,} rows of {len(columns)} features", "name fewer feature_columns, or split the data"
    )
    values = np.full((len(table), len(columns)), np.nan, np.float32)
    for first, batch in table.batches(list(columns)):
        part = values[first : first + len(batch)]
        for place, name in enumerate(columns):
            with np.errstate(over="ignore"):  # becomes infinite, which is reported below
                part[:, place] = _numbers(batch.column(name))[: len(part)]
    _check_finite(values, table, columns)
    return FeatureInputs(values)


def _numbers(column: pa.Array) -> np.ndarray:
    numbers: np.ndarray = column.cast(pa.float64(), safe=False).to_numpy(zero_copy_only=False)
    return numbers


def _check_finite(values: np.ndarray, table: Table, columns: tuple[str, ...]) -> None:
    bad = np.argwhere(~np.isfinite(values))
    if len(bad):
        row, column = bad[0]
        raise UserError(
            f"feature {columns[column]!r} in {table.place(row)} is missing, NaN or too large for float32, "
            f"but every feature must be a finite number; fill it in or leave the row out ({len(bad)} such)"
        )
