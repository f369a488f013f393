"""A file that says which samples were checked by hand, and what their labels are."""

from __future__ import annotations

import io
import shlex
from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TypeVar

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet as pq

from ray_mentor.data.readers.places import is_uri
from ray_mentor.data.stores import resolved
from ray_mentor.errors import UserError, listed, shown

ID, CHECKED = "sample_id", "checked_label"
"""Columns of such a file, as ``ray-mentor pick`` writes it."""

_LABEL = "label"
_SHOWN = 5  # offenders that an error names
_SEPARATORS = (",", ";", "\t")  # of tables in text, as spreadsheets write them


@dataclass(frozen=True)
class CheckedIds:
    """Samples that were checked by hand, each once.

    Attributes:
        ids: as they are written.
        labels: the label that each was found to have, as it is written; None: the one that it has.
        unchecked: rows of the file without a label, though it has a column of them; they are not among ``ids``.
    """

    ids: tuple[str, ...]
    labels: tuple[str, ...] | None
    unchecked: int = 0


def read_ids(
    location: str, id_column: str | None = None, label_column: str = _LABEL, others: Collection[str] = ()
) -> CheckedIds:
    """Reads a table (CSV, TSV, Parquet), or a text file of one id a line.

    Of a table, the ids are in ``id_column`` or ``sample_id``. Corrected labels are in ``checked_label``, in the column
    that the data have labels in, or in ``label``, whichever is there first; a row whose label is empty was not checked.

    Args:
        others: columns of the data which might be ids, for the error where none is found.

    Raises:
        UserError: a file that can't be read, without a column of ids, without any checked sample, or one that has two
            labels for a sample.
    """
    kind = PurePosixPath(location.partition("?")[0]).suffix.lower()
    content = _content(location)
    if kind not in (".csv", ".tsv", ".parquet"):
        ids = [line.strip() for line in _text(content, location).splitlines()]
        return _some(CheckedIds(tuple(dict.fromkeys(filter(None, ids))), None), location)
    table = _read(location, _parquet if kind == ".parquet" else _csv, content)
    names = table.column_names
    column = next((name for name in (id_column, ID) if name in names), None)
    if column is None:
        wanted = " or ".join(repr(name) for name in dict.fromkeys(filter(None, (id_column, ID))))
        shared = next((name for name in names if name in others and name not in (CHECKED, label_column, _LABEL)), None)
        fix = "" if shared is None else f"--id-column {shlex.quote(shared)} takes that of the data for the ids, or "
        raise UserError(
            f"meta_ids {shown(location)} has no column {wanted}; its columns are {listed(names)}; {fix}name the column "
            "of ids so (ids alone, one a line, go into a .txt)"
        )
    ids = _strings(table[column], column, location)
    label = next((name for name in (CHECKED, label_column, _LABEL) if name in names and name != column), None)
    if label is None:
        return _some(CheckedIds(tuple(dict.fromkeys(filter(None, ids))), None), location)
    return _some(_labelled(ids, _strings(table[label], label, location), location), location)


def _labelled(ids: list[str], labels: list[str], location: str) -> CheckedIds:
    found: dict[str, str] = {}
    twice: dict[str, None] = {}
    for name, label in zip(ids, labels, strict=True):
        if name and label.strip() and found.setdefault(name, label).strip() != label.strip():
            twice[name] = None
    if twice:
        verb = "has" if len(twice) == 1 else "have"
        raise UserError(
            f"meta_ids {shown(location)}: {listed(twice, _SHOWN)} {verb} two different labels there ({len(twice)} "
            "such); leave one of them"
        )
    unchecked = len(set(filter(None, ids)) - set(found))
    return CheckedIds(tuple(found), tuple(found.values()), unchecked)


def _some(checked: CheckedIds, location: str) -> CheckedIds:
    if checked.ids:
        return checked
    why = f"none of its {checked.unchecked} rows has a label" if checked.unchecked else "it is empty"
    raise UserError(
        f"meta_ids {shown(location)} names no sample that was checked ({why}); write down ids and, where there is a "
        f"column for it ({CHECKED}), the label that each was found to have"
    )


def _content(location: str) -> bytes:
    try:
        if not is_uri(location):
            if not Path(location).is_file():  # a device has no end
                raise FileNotFoundError
            return Path(location).read_bytes()
        files, path = resolved(location)
        with files.open_input_file(path) as file:
            content: bytes = file.read()
        return content
    except (OSError, pa.ArrowException) as error:
        why = "there is no such file" if isinstance(error, FileNotFoundError) else _first_line(error)
        raise UserError(
            f"meta_ids is {shown(location)}, but it can't be read ({why}); give a file of the ids that were checked"
        ) from error


def _text(content: bytes, location: str) -> str:
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise UserError(f"meta_ids {shown(location)} is no text in UTF-8 ({error}); write it anew as such") from error


Read = TypeVar("Read")


def _read(location: str, how: Callable[[bytes], Read], content: bytes) -> Read:
    try:
        return how(content)
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        raise UserError(
            f"meta_ids {shown(location)} can't be read as a table ({_first_line(error)}); write it anew, in UTF-8"
        ) from error


def _parquet(content: bytes) -> pa.Table:
    return pq.read_table(io.BytesIO(content))


def _csv(content: bytes) -> pa.Table:
    """All columns as they are written."""
    header = content.decode("utf-8-sig").partition("\n")[0].rstrip("\r")
    separator = max(_SEPARATORS, key=header.count)
    names = [name.strip().strip('"') for name in header.split(separator)]
    return pyarrow.csv.read_csv(
        io.BytesIO(content),
        read_options=pyarrow.csv.ReadOptions(block_size=max(len(content), 1)),  # a row is in one
        parse_options=pyarrow.csv.ParseOptions(delimiter=separator, newlines_in_values=True),
        convert_options=pyarrow.csv.ConvertOptions(
            column_types=dict.fromkeys(names, pa.string()), strings_can_be_null=False
        ),
    )


def _strings(column: pa.ChunkedArray, name: str, location: str) -> list[str]:
    if not (pa.types.is_integer(column.type) or _is_text(column.type) or pa.types.is_null(column.type)):
        raise UserError(
            f"column {name!r} of meta_ids {shown(location)} is {column.type}, but ids and labels are integers or "
            "strings; cast it"
        )
    values: list[str] = pc.fill_null(column.cast(pa.large_string()), "").to_pylist()
    return values


def _is_text(kind: pa.DataType) -> bool:
    plain = kind.value_type if pa.types.is_dictionary(kind) else kind
    return bool(pa.types.is_string(plain) or pa.types.is_large_string(plain) or pa.types.is_string_view(plain))


def _first_line(error: Exception) -> str:
    text = getattr(error, "strerror", None) or str(error)  # which names the file, however long its name is
    return (text.splitlines() or [type(error).__name__])[0]
