"""An audit as files: what a run leaves at its end, and what other trainers and tools read."""

from __future__ import annotations

import io
from collections.abc import Sequence

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet

from ray_mentor.errors import printable
from ray_mentor.run.audit.audit import Audit
from ray_mentor.run.audit.columns import plain
from ray_mentor.run.directory import RunDirectory
from ray_mentor.run.findings.new_files import write_new

PARQUET, CSV = "audit.parquet", "audit.csv"
"""What a run writes at its end: all samples, and the first :data:`MOST`."""

DUPLICATES = "duplicates.csv"
"""What is written where duplicates are looked for."""

MOST = 100_000


BEGINNING = 200
"""Characters of a text that stand there, on one line."""


def write(audit: Audit, directory: RunDirectory, texts: Sequence[str | None] | None = None) -> None:
    """Writes both into a run's folder, the most suspicious samples first.

    Args:
        texts: of the samples, where they are texts that are at hand.
    """
    table = audit.table if texts is None else with_texts(audit.table, texts)
    directory.fill(PARQUET, lambda sink: pyarrow.parquet.write_table(table, sink, write_page_checksum=True))
    directory.write(CSV, as_csv(table.slice(0, MOST)))


def texts_left(directory: RunDirectory, ids: pa.ChunkedArray) -> list[str | None] | None:
    """The beginnings of texts that stand in the audit that a run has left; None of a sample that it lacks.

    Returns:
        None where the run has left no audit, or one without texts.
    """
    written = directory.read(PARQUET)
    try:
        left = None if written is None else pyarrow.parquet.read_table(io.BytesIO(written))
    except (OSError, pa.ArrowException):  # damaged: it is written anew
        return None
    if left is None or not {"sample_id", _TEXT} <= set(left.column_names):
        return None
    known = left["sample_id"].cast(pa.string())
    found: list[str | None] = left[_TEXT].take(pc.index_in(ids.cast(pa.string()), known)).to_pylist()
    return found


def with_texts(table: pa.Table, texts: Sequence[str | None]) -> pa.Table:
    """The samples with what they say, :func:`safe`, for whoever checks them."""
    return table.append_column(_TEXT, pa.array([text and safe(text) for text in texts], pa.string()))


def safe(text: str) -> str:
    """A text whose control characters are written out, lest it steer a terminal or hide what it says."""
    return printable(text.replace("\r\n", "\n"))


_TEXT = "text"


def as_csv(table: pa.Table) -> bytes:
    """A header and a line a row; numbers are rounded to 6 digits.

    Texts that a spreadsheet would take for formulas have a ' before them.
    """
    sink = pa.BufferOutputStream()
    rounded = plain(table)
    for place, field in enumerate(rounded.schema):
        if pa.types.is_floating(field.type):
            wide = pc.cast(rounded[field.name], pa.float64())
            rounded = rounded.set_column(place, field.name, pc.round(wide, ndigits=_DIGITS))
        if field.name == _TEXT:
            rounded = rounded.set_column(
                place, _TEXT, pc.replace_substring_regex(rounded[_TEXT], r"^([=+\-@])", r"'\1")
            )
    pa.csv.write_csv(rounded, sink)
    return bytes(sink.getvalue())


_DIGITS = 6


def write_table(table: pa.Table, path: str) -> None:
    """Writes a table as Parquet, where the name ends so, and else as CSV; nothing is written over.

    Raises:
        UserError: there is something already, or it can't be written.
    """
    if path.endswith(".parquet"):
        write_new(path, lambda file: pyarrow.parquet.write_table(plain(table), file))
    else:
        write_new(path, lambda file: file.write(as_csv(table)))
