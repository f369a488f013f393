"""Labels as they are stored, turned into 0..C-1."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from ray_mentor.data.readers.parquet.table import Table
from ray_mentor.data.samples.labels import MOST_CLASSES, numbered_classes
from ray_mentor.errors import UserError, listed, shown

_SHOWN = 12


def find_classes(tables: Iterable[Table], named: tuple[str, ...]) -> tuple[str, ...]:
    """Class names: those the file names, else the sorted strings, else the numbers 0..highest label.

    Raises:
        UserError: integers in one column and strings in another, without class names; too many classes.
    """
    if named:
        return _few(named, "the file's metadata names", "mend them")
    columns = [column for table in tables for column in (table.labels, table.true_labels) if column is not None]
    if any(column.type != columns[0].type for column in columns):
        raise UserError(
            "labels are strings in one place and integers in another; write them alike, or name the classes"
        )
    if _is_text(columns[0]):
        names = {name for column in columns for chunk in column.chunks for name in _names_in(chunk)}
        return _few(tuple(sorted(names)), "the labels are", "name another label_column")
    return numbered_classes(max(pc.max(column).as_py() for column in columns))


def _few(classes: tuple[str, ...], what: str, fix: str) -> tuple[str, ...]:
    if len(classes) > MOST_CLASSES:
        raise UserError(f"{what} {len(classes)} classes, but there may be {MOST_CLASSES}; {fix}")
    return classes


def encode(table: Table, labels: pa.ChunkedArray, classes: tuple[str, ...], what: str) -> NDArray[np.int64]:
    """int64 (N,): class names become their place in ``classes``, integers stay.

    Raises:
        UserError: a label that is no class; names file, row and sample id.
    """
    if _is_text(labels):
        names = pa.array(classes, pa.string())
        encoded: NDArray[np.int64] = np.concatenate([_places(chunk, names) for chunk in labels.chunks])
    else:
        encoded = labels.to_numpy()
    outside = np.flatnonzero((encoded < 0) | (encoded >= len(classes)))
    if len(outside):
        row = int(outside[0])
        raise UserError(
            f"{what} {shown(labels[row].as_py())} in {table.place(row)} is none of the {len(classes)} classes "
            f"({_listed(labels, classes)}); mend it or leave the row out ({len(outside)} such)"
        )
    return encoded


def _is_text(labels: pa.ChunkedArray) -> bool:
    return bool(pa.types.is_dictionary(labels.type))


def _names_in(chunk: pa.DictionaryArray) -> list[str]:
    """Those of a dictionary's names that occur."""
    names: list[str] = chunk.dictionary.take(chunk.indices.unique()).to_pylist()
    return names


def _places(chunk: pa.DictionaryArray, names: pa.StringArray) -> NDArray[np.int64]:
    """Where the chunk's strings stand in ``names``; -1 for those that don't."""
    places: NDArray[np.int64] = pc.index_in(chunk.dictionary, names).fill_null(-1).to_numpy().astype(np.int64)
    rows: NDArray[np.int64] = places[chunk.indices.to_numpy()]
    return rows


def _listed(labels: pa.ChunkedArray, classes: tuple[str, ...]) -> str:
    if _is_text(labels):
        return listed(classes, _SHOWN)
    return f"0..{len(classes) - 1}"
