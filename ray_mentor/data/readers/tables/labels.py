"""Labels as they are stored, turned into 0..C-1."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterable

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from ray_mentor.data.readers.tables.table import Table
from ray_mentor.data.samples.labels import MOST_CLASSES, numbered_classes
from ray_mentor.errors import UserError, listed, shown

_SHOWN = 12
_SIGNS = [-1, 1]  # beside others −1 is rather none at all
_MOST_CODES = 1000  # classes that are called by numbers far apart: more may be a mistaken column of ids


def find_classes(tables: Iterable[Table], named: tuple[str, ...]) -> tuple[str, ...]:
    """Class names: those the file names, else the sorted strings, else the numbers 0..highest label; or, of −1 and 1,
    of 1, 2, ..., C and of a few that lie far apart, those that occur.

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
    numbers = sorted({number for column in columns for number in pc.unique(column).to_pylist()})
    far_apart = numbers[0] >= 0 and 2 * len(numbers) < numbers[-1] + 1 <= MOST_CLASSES
    from_one = numbers == list(range(1, len(numbers) + 1)) and 1 < len(numbers) <= MOST_CLASSES
    if numbers == _SIGNS or from_one or (far_apart and len(numbers) <= _MOST_CODES):
        return tuple(map(str, numbers))
    return numbered_classes(numbers[-1])


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


def in_names(table: Table, classes: tuple[str, ...]) -> Table:
    """The table with labels that are numbers as names, unless they are the places of the classes."""
    if classes == numbered_classes(len(classes) - 1):
        return table
    truth = None if table.true_labels is None else by_name(table.true_labels, (), classes)
    return dataclasses.replace(table, labels=by_name(table.labels, (), classes), true_labels=truth)


def by_name(labels: pa.ChunkedArray, own: tuple[str, ...], classes: tuple[str, ...]) -> pa.ChunkedArray:
    """Numbers of classes as their names, by dictionary: what the file itself calls them, else the class of that number
    where some class is called by a number (7 is "7" or "007"), else what stands in that place of ``classes``. Names
    that are numbers (007) are those classes, too, where none is called just so.

    Args:
        own: names that the file has for its numbers; empty if it has none.
        classes: of the data that these labels go with.
    """
    if _is_text(labels):
        there = {name for chunk in labels.chunks for name in chunk.dictionary.to_pylist()}
        if not there <= {*_TRUTHS} or classes != _TRUTH_NUMBERS:
            return _renamed(labels, classes)
        labels = pc.equal(labels.cast(pa.string()), _TRUTHS[1]).cast(pa.int64())
    called = _called(classes)
    names = dict(enumerate(own or classes)) if own or not called else called
    numbers = labels.combine_chunks().dictionary_encode()
    told = [names.get(number) or _unknown(number, classes) for number in numbers.dictionary.to_pylist()]
    return pa.chunked_array([pa.DictionaryArray.from_arrays(numbers.indices, pa.array(told, pa.string()))])


def _called(classes: tuple[str, ...]) -> dict[int, str]:
    """The classes that are called by numbers."""
    return {int(name): name for name in classes if _WHOLE.fullmatch(name)}


def _renamed(labels: pa.ChunkedArray, classes: tuple[str, ...]) -> pa.ChunkedArray:
    """Names that are no class, but numbers of one."""
    called = _called(classes)

    def name_of(name: str) -> str:
        return name if name in classes or not _WHOLE.fullmatch(name) else called.get(int(name), name)

    parts = [
        pa.DictionaryArray.from_arrays(
            chunk.indices, pa.array(map(name_of, chunk.dictionary.to_pylist()), chunk.dictionary.type)
        )
        for chunk in labels.chunks
    ]
    return pa.chunked_array(parts, labels.type) if called else labels


def _unknown(number: int, classes: tuple[str, ...]) -> str:
    return f"number {number}" if str(number) in classes else str(number)


_TRUTHS, _TRUTH_NUMBERS = ("false", "true"), ("0", "1")
_WHOLE = re.compile(r"[-+]?[0-9]{1,18}")


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
