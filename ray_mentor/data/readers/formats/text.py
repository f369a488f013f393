"""Tables in text: CSV and TSV, and JSON with an object a line."""

from __future__ import annotations

import codecs
import csv
import dataclasses
import io
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.json
from typing_extensions import override

from ray_mentor.data.memory import require_memory
from ray_mentor.data.readers.formats.numbers import with_decimal_commas, with_leading_zeros, with_points
from ray_mentor.data.readers.formats.part import AbstractPart, AbstractTablePart, reading
from ray_mentor.data.readers.formats.splits import SplitParts
from ray_mentor.data.readers.places import File, contents, opened, stamp
from ray_mentor.errors import UserError, listed
from ray_mentor.wording import counted

CSV = (".csv", ".tsv")
JSONL = (".jsonl", ".ndjson")

_SEPARATORS = ",;\t|"
_HEAD_BYTES = 2**16
_TIMES = 4  # what a table takes in memory, beside its text, at most: a number of two characters takes eight bytes
_MEND = "mend that line, and save it as {kind} again"


@dataclass(frozen=True)
class TextPart(AbstractTablePart):
    """A table in text, whose first line names the columns."""

    kind = "CSV"
    file: File
    as_written: tuple[str, ...] = ()
    """Columns that are text, whatever they look like."""

    @override
    def at(self, file: File) -> TextPart:
        return dataclasses.replace(self, file=file)

    def columns(self) -> list[str]:
        """As the first line has them, without spaces around them.

        Raises:
            UserError: it can't be read, or names no columns.
        """
        return list(self._named())

    @override
    def read(self) -> pa.Table:
        named = self._named()
        with reading(self, self.kind, _MEND):
            _check_memory(self)
            content, separator = contents([self.file])[0], _separator(self, _first_line(self))
            texts = [named.get(name, name) for name in self.as_written]
            table = _parsed(content, separator, {"column_types": dict.fromkeys(texts, pa.string())})

            def as_text(names: list[str]) -> dict[str, pa.ChunkedArray]:
                asked = {"include_columns": names, "column_types": dict.fromkeys(names, pa.string())}
                return dict(zip(names, _parsed(content, separator, asked).columns, strict=True))

            zeros = with_leading_zeros(content, table, as_text)
        table = _checked(self, _as_written(table, texts))
        commas = [] if separator == "," else [name for name in with_decimal_commas(table) if name not in texts]
        for name in commas:
            table = table.set_column(table.schema.get_field_index(name), name, with_points(table[name]))
        if len(named) == len(table.schema.names):
            table = table.rename_columns([name.strip() for name in table.schema.names])
        told = {_ZEROS: zeros, _COMMAS: commas}
        return table.replace_schema_metadata(
            {key: json.dumps([name.strip() for name in names]) for key, names in told.items()}
        )

    def _named(self) -> dict[str, str]:
        """What columns are called, and how their names are written."""
        line = _first_line(self)
        names = next(csv.reader(io.StringIO(line), delimiter=_separator(self, line)), [])
        _require_header(self, names)
        stripped = {name.strip(): name for name in names}
        return stripped if len(stripped) == len(names) else {name: name for name in names}

    @property
    def zeros(self) -> list[str]:
        """Columns of whole numbers some of which begin with 0, as 007 does."""
        return self._told(_ZEROS)

    @property
    def commas(self) -> list[str]:
        """Columns of numbers that have decimal commas."""
        return self._told(_COMMAS)

    def _told(self, what: bytes) -> list[str]:
        names: list[str] = json.loads(self.schema().metadata[what])
        return names


_ZEROS, _COMMAS = b"leading_zeros", b"decimal_commas"


def _as_written(table: pa.Table, names: Sequence[str]) -> pa.Table:
    """Texts of columns that hold numbers: nothing where a number is missing, however that is written."""
    for name in names:
        values = pc.utf8_trim_whitespace(table[name])
        missing = pc.is_in(values, pa.array(pyarrow.csv.ConvertOptions().null_values, pa.string()))
        there = pc.if_else(missing, pa.scalar(None, pa.string()), values)
        table = table.set_column(table.schema.get_field_index(name), name, there)
    return table


def _parsed(content: bytes, separator: str, converted: dict[str, Any]) -> pa.Table:
    return pyarrow.csv.read_csv(
        io.BytesIO(content),
        pyarrow.csv.ReadOptions(use_threads=False),  # or an error does not say in which row
        pyarrow.csv.ParseOptions(delimiter=separator, newlines_in_values=True),
        pyarrow.csv.ConvertOptions(**converted),
    )


def names_as_written(found: SplitParts, columns: Sequence[str | None]) -> SplitParts:
    """The same with names that look like numbers as they are written, 007 rather than 7, in those of these columns
    where one begins with 0, or has a comma; and a note of other columns that have commas.
    """
    texts = [part for part in found.all if isinstance(part, TextPart)]
    odd = {name for part in texts for name in (*part.zeros, *part.commas)}
    names = tuple(name for name in dict.fromkeys(columns) if name in odd)
    commas = [name for name in dict.fromkeys(name for part in texts for name in part.commas) if name not in names]
    if commas:
        note = f"commas are decimal points in {counted(len(commas), 'column')}: {listed(commas, 20)}"
        found = dataclasses.replace(found, notes=(*found.notes, note))
    if not names:
        return found

    def written(part: AbstractPart) -> AbstractPart:
        return dataclasses.replace(part, as_written=names) if isinstance(part, TextPart) else part

    return found.each(written)


@dataclass(frozen=True)
class JsonPart(AbstractTablePart):
    """JSON with an object a line, each column under its name."""

    kind = "JSONL"
    file: File

    @override
    def at(self, file: File) -> JsonPart:
        return dataclasses.replace(self, file=file)

    def columns(self) -> list[str]:
        """As the first line has them; none where it is no object.

        Raises:
            UserError: it can't be read.
        """
        try:
            first: Any = json.loads(_first_line(self))
        except (ValueError, RecursionError):
            return []
        return list(first) if isinstance(first, dict) else []

    @override
    def read(self) -> pa.Table:
        if _first_line(self).lstrip().startswith("["):
            raise UserError(f"{self} is an array of JSON, but JSONL has an object a line; write it so")
        with reading(self, self.kind, _MEND):
            _check_memory(self)
            table = pyarrow.json.read_json(
                io.BytesIO(contents([self.file])[0]),
                pyarrow.json.ReadOptions(use_threads=False),
                pyarrow.json.ParseOptions(newlines_in_values=False),
            )
        return _checked(self, table)


def _check_memory(part: AbstractTablePart) -> None:
    size, _ = stamp(part.file)
    require_memory(_TIMES * size, f"{part}, which is read as a whole", "write it as Parquet, or split it")


def _first_line(part: AbstractTablePart) -> str:
    with reading(part, part.kind), opened(part.file) as file:
        head: bytes = file.read(_HEAD_BYTES)
    if head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        raise UserError(f"{part} is text in UTF-16, as some programs save it; save it as UTF-8")
    lines = head.decode("utf-8-sig", errors="replace").splitlines()
    return next((line for line in lines if line.strip()), "")


def _separator(part: AbstractTablePart, line: str) -> str:
    return "\t" if str(part.file).lower().endswith(".tsv") else max(_SEPARATORS, key=line.count)


def _require_header(part: TextPart, names: Sequence[str]) -> None:
    if not names:
        raise UserError(f"{part} is empty, but its first line must name the columns; put them there")
    if _counts_up(names):
        return
    values = [name for name in names if _VALUE.fullmatch(name.strip())]
    if values:
        raise UserError(
            f"{part} has no header: its first line must name the columns, but has values ({listed(values, 5)}); put a "
            f"line of {len(names)} names before it, such as {','.join(_names(len(names)))}"
        )


_VALUE = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?|.+\.(png|jpe?g|webp|gif|bmp|tiff?|ppm|pgm)", re.IGNORECASE)


def _counts_up(names: Sequence[str]) -> bool:
    """Numbers that count the columns are their names: what writes a table without names gives it such."""
    numbers = [int(name) for name in names if name.strip().isdecimal()]
    return len(numbers) > 1 and numbers == list(range(numbers[0], numbers[0] + len(numbers)))


def _names(count: int) -> list[str]:
    return [*(f"x{place}" for place in range(min(count - 1, 3))), *(["..."] if count > 4 else []), "label"]


def _checked(part: AbstractTablePart, table: pa.Table) -> pa.Table:
    """Nothing between two separators is nothing there, in text as in numbers.

    Raises:
        UserError: no rows, or text that is not UTF-8.
    """
    if not len(table):
        raise UserError(f"{part}: no rows, but at least one sample is needed")
    try:
        assert table.schema.names
    except UnicodeDecodeError as error:
        raise UserError(f"{part} has column names in another encoding than UTF-8; save it as UTF-8") from error
    for place, field in enumerate(table.schema):
        if pa.types.is_binary(field.type):
            raise UserError(f"column {field.name!r} of {part} is text in another encoding than UTF-8; save it as UTF-8")
        if pa.types.is_string(field.type):
            column = table.column(place)
            empty = pc.equal(column, "")
            if pc.any(empty).as_py():
                table = table.set_column(place, field, pc.if_else(empty, pa.scalar(None, field.type), column))
    return table
