"""Labels as they are stored, turned into 0..C-1."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from ray_mentor.data.readers.parquet_table import Table
from ray_mentor.errors import UserError

_MOST_CLASSES = 100_000  # a mistaken id column must not become a million output units
_SHOWN = 12


def find_classes(tables: Iterable[Table], named: tuple[str, ...]) -> tuple[str, ...]:
    """Class names: those the file names, else the sorted strings, else the numbers 0..highest label.

    Raises:
        UserError: integers in one column and strings in another, without class names; integers too high.
    """
    if named:
        return named
    columns = [column for table in tables for column in (table.labels, table.true_labels) if column is not None]
    if any(column.type != columns[0].type for column in columns):
        raise UserError(
            "labels are strings in one place and integers in another; write them alike, or name the classes"
        )
    if pa.types.is_large_string(columns[0].type):
        return tuple(sorted({name for column in columns for name in column.unique().to_pylist()}))
    highest = max(pc.max(column).as_py() for column in columns)
    if highest >= _MOST_CLASSES:
        raise UserError(
            f"label {highest} would make {highest + 1} classes, but integer labels must count up from 0 "
            f"and stay below {_MOST_CLASSES}; name another label_column, or write the labels as strings"
        )
    return tuple(map(str, range(highest + 1)))


def encode(table: Table, labels: pa.ChunkedArray, classes: tuple[str, ...], what: str) -> NDArray[np.int64]:
    """int64 (N,): class names become their place in ``classes``, integers stay.

    Raises:
        UserError: a label that is no class; names file, row and sample id.
    """
    if pa.types.is_large_string(labels.type):
        found = pc.index_in(labels, pa.array(classes, pa.large_string()))
        encoded: NDArray[np.int64] = found.fill_null(-1).to_numpy().astype(np.int64)
    else:
        encoded = labels.to_numpy()
    outside = np.flatnonzero((encoded < 0) | (encoded >= len(classes)))
    if len(outside):
        row = int(outside[0])
        raise UserError(
            f"{what} {labels[row].as_py()!r} in {table.place(row)} is none of the {len(classes)} classes "
            f"({_listed(labels, classes)}); mend it or leave the row out ({len(outside)} such)"
        )
    return encoded


def _listed(labels: pa.ChunkedArray, classes: tuple[str, ...]) -> str:
    if pa.types.is_large_string(labels.type):
        return ", ".join(classes[:_SHOWN]) + (", ..." if len(classes) > _SHOWN else "")
    return f"0..{len(classes) - 1}"
