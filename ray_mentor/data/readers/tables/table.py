"""The rows of a split, over all of its files: what they are called, and a stream of their columns."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from ray_mentor.data.memory import require_memory
from ray_mentor.data.readers.formats.part import AbstractPart
from ray_mentor.data.readers.formats.splits import Parts
from ray_mentor.data.readers.tables.columns import Columns, check_types
from ray_mentor.data.readers.tables.kinds import is_text, yes_or_no
from ray_mentor.errors import UserError, listed

_BATCH_ROWS = 256  # bounds what is held besides the result
_NUMBER_BYTES = 8
_NONE = pa.chunked_array([], pa.int64())  # labels of what has none


class Stream(Protocol):
    """Rows whose columns can be streamed."""

    def place(self, row: int) -> str:
        """How an error message names a row."""

    def batches(self, columns: list[str]) -> Iterator[tuple[int, pa.RecordBatch]]:
        """(row of its first sample, record batch) in order."""


@dataclass(frozen=True, eq=False)
class Table:
    """One split as it is stored, inputs not yet read.

    Attributes:
        files: in reading order.
        starts: int64, the first row of each file.
        ids: int64 (N,), from the id column, or the row number where there is none or it holds strings.
        labels: int64, or strings by dictionary, however they are stored; no nulls.
        true_labels: likewise, or None.
        names: the strings of the id column, or None.
        checked: whether each given label was checked, or None.
        groups: as labels, or None.
    """

    files: Parts
    starts: NDArray[np.int64]
    ids: NDArray[np.int64]
    labels: pa.ChunkedArray
    true_labels: pa.ChunkedArray | None
    names: pa.ChunkedArray | None = None
    checked: NDArray[np.bool_] | None = None
    groups: pa.ChunkedArray | None = None

    def __len__(self) -> int:
        return len(self.ids)

    def place(self, row: int) -> str:
        """How an error message names a row."""
        file = int(np.searchsorted(self.starts, row, side="right")) - 1
        who = self.ids[row] if self.names is None else self.names[row]
        return self.files[file].place(row - int(self.starts[file]), who)

    def batches(self, columns: list[str]) -> Iterator[tuple[int, pa.RecordBatch]]:
        """(row of its first sample, record batch) in order, a few hundred rows at a time.

        Raises:
            UserError: at the end, if there are fewer rows than labels.
        """
        row = 0
        for file in self.files:
            for batch in file.batches(columns, _BATCH_ROWS):
                yield row, batch.slice(0, max(0, len(self) - row))
                row += len(batch)
        if row < len(self):
            raise UserError(
                f"{listed(columns, 5)} ends at row {row} of {self.files[0]} and what follows it, but there are "
                f"{len(self)} labels; write the files anew"
            )


def open_table(files: Parts, columns: Columns, first_id: int = 0) -> Table:
    """Reads everything but the inputs.

    Args:
        files: at least one.
        columns: what is what; every file must have them.
        first_id: id of the first row, where row numbers are the ids.

    Raises:
        UserError: an unreadable file, a missing column, a null, no rows.
    """
    parts = [_read_about(file, columns) for file in files]
    counts = [len(part) for part in parts]
    if sum(counts) == 0:
        raise UserError(f"{', '.join(map(str, files))}: no rows, but at least one sample is needed")
    numbers = np.arange(first_id, first_id + sum(counts))
    stored = None if columns.id is None else _joined([part[columns.id] for part in parts], "ids")
    labels = _NONE if columns.label is None else _joined([part[columns.label] for part in parts], "labels")
    truth = None if columns.true_label is None else _joined([part[columns.true_label] for part in parts], "labels")
    groups = None if columns.group is None else _joined([part[columns.group] for part in parts], "groups")
    starts = np.cumsum([0, *counts[:-1]])
    name = columns.checked
    parsed = (
        [] if name is None else [yes_or_no(part[name], name, file) for part, file in zip(parts, files, strict=True)]
    )
    checked = np.concatenate(parsed) if parsed else None
    if stored is None or pa.types.is_dictionary(stored.type):
        names = None if stored is None else stored.cast(pa.large_string())
        return Table(files, starts, numbers, labels, truth, names, checked, groups)
    return Table(files, starts, stored.to_numpy(), labels, truth, None, checked, groups)


def named_classes(schema: pa.Schema, label: str) -> tuple[str, ...]:
    """Class names from a file's metadata: Hugging Face's features, or ``class_names`` joined by commas; else none."""
    metadata = schema.metadata or {}
    if names := _hugging_face_names(metadata.get(b"huggingface", b"{}"), label):
        return names
    listed = metadata.get(b"class_names", b"").decode(errors="replace")
    return tuple(name.strip() for name in listed.split(",")) if listed else ()


def _hugging_face_names(text: bytes, label: str) -> tuple[str, ...]:
    try:
        names = json.loads(text)["info"]["features"][label]["names"]
    except (ValueError, KeyError, TypeError, RecursionError):
        return ()
    return tuple(_text(name) for name in names) if isinstance(names, list) else ()


def _text(name: object) -> str:
    """JSON can hold halves of surrogate pairs, which can neither be compared with stored labels nor be shown."""
    return str(name).encode(errors="replace").decode()


def _read_about(file: AbstractPart, columns: Columns) -> pa.Table:
    schema = file.schema()
    check_types(schema, columns, file)
    strings = [name for name in columns.about if is_text(schema, name)]
    _check_memory(len(file), columns, file)
    stored = file.about(columns.about, strings)
    about = pa.table({name: _plain(stored[name], name, columns, file) for name in columns.about})
    for name in columns.about:
        if about[name].null_count and name != columns.checked:
            row = about[name].is_null().to_pylist().index(True)
            raise UserError(_null(about, columns, name, row, file))
    return about


def _check_memory(rows: int, columns: Columns, file: AbstractPart) -> None:
    size = rows * _NUMBER_BYTES * (len(columns.about) + 1)  # and the ids, where they are row numbers
    require_memory(size, f"the labels and ids of the {rows:,} rows of {file}", "split the file, and train on a part")


def _null(about: pa.Table, columns: Columns, name: str, row: int, file: AbstractPart) -> str:
    known = columns.id is not None and about[columns.id][row].is_valid
    who = f" (sample id {about[columns.id][row]})" if known else ""
    return (
        f"column {name!r} is null in row {row} of {file}{who}, but every sample needs one; "
        f"fill it in or leave the row out ({about[name].null_count} such)"
    )


def _plain(column: pa.ChunkedArray, name: str, columns: Columns, file: AbstractPart) -> pa.ChunkedArray:
    """As int64 or as a dictionary of strings: labels that are true or false are called so."""
    if pa.types.is_boolean(column.type) and name in columns.labels:
        column = column.cast(pa.string())
    if pa.types.is_floating(column.type) and name in columns.labels:
        column = _whole_numbers(column, name, file)
    if not (pa.types.is_integer(column.type) or pa.types.is_boolean(column.type)):
        return column if pa.types.is_dictionary(column.type) else column.dictionary_encode()
    try:
        return column.cast(pa.int64())
    except pa.ArrowInvalid:
        raise UserError(
            f"column {name!r} of {file} is {column.type} with values above 2**63 − 1, but labels and ids are int64; "
            "write them smaller, or name another column"
        ) from None


def _whole_numbers(column: pa.ChunkedArray, name: str, file: AbstractPart) -> pa.ChunkedArray:
    """Labels that are whole numbers, though they are stored as floats, as pandas does where one is missing."""
    column = pc.if_else(pc.is_nan(column), pa.scalar(None, column.type), column)
    try:
        return column.cast(pa.int64())
    except pa.ArrowInvalid:
        raise UserError(
            f"column {name!r} of {file} is {column.type}, but labels must be integers or strings; cast it, or, if they "
            "are amounts, give a loss of your own to CurriculumTrainer in Python"
        ) from None


def _joined(columns: list[pa.ChunkedArray], what: str) -> pa.ChunkedArray:
    if any(column.type != columns[0].type for column in columns):
        raise UserError(f"{what} are strings in one file and integers in another of the same split; write them alike")
    return pa.chunked_array([chunk for column in columns for chunk in column.chunks], type=columns[0].type)
