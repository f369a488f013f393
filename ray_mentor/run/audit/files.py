"""An audit as files: what a run leaves at its end, and what other trainers and tools read."""

from __future__ import annotations

import os

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet

from ray_mentor.errors import UserError, shown
from ray_mentor.run.audit.audit import Audit, plain
from ray_mentor.run.directory import RunDirectory

PARQUET, CSV = "audit.parquet", "audit.csv"
"""What a run writes at its end: all samples, and the first :data:`MOST`."""

DUPLICATES = "duplicates.csv"
"""What is written where duplicates are looked for."""

MOST = 100_000


def write(audit: Audit, directory: RunDirectory) -> None:
    """Writes both into a run's folder, the most suspicious samples first."""
    directory.fill(PARQUET, lambda sink: pyarrow.parquet.write_table(audit.table, sink, write_page_checksum=True))
    directory.write(CSV, as_csv(audit.table.slice(0, MOST)))


def as_csv(table: pa.Table) -> bytes:
    """A header and a line a row; numbers are rounded to 6 digits."""
    sink = pa.BufferOutputStream()
    rounded = plain(table)
    for place, field in enumerate(rounded.schema):
        if pa.types.is_floating(field.type):
            wide = pc.cast(rounded[field.name], pa.float64())
            rounded = rounded.set_column(place, field.name, pc.round(wide, ndigits=_DIGITS))
    pa.csv.write_csv(rounded, sink)
    return bytes(sink.getvalue())


_DIGITS = 6


def check_free(path: str) -> None:
    """Raises a UserError if there is something at a path that shall be written, or its folder is not there."""
    if os.path.lexists(path):
        raise UserError(f"{shown(path)} is there already; give another name, or remove it first")
    folder = os.path.dirname(os.path.abspath(path))
    if not os.path.isdir(folder):
        raise UserError(f"{shown(path)} lies in a folder that is not there; make it first")


def write_new(table: pa.Table, path: str) -> None:
    """Writes a table as Parquet, where the name ends so, and else as CSV; nothing is written over.

    Raises:
        UserError: there is something already, or it can't be written.
    """
    check_free(path)
    try:
        with open(path, "xb") as file:
            if path.endswith(".parquet"):
                pyarrow.parquet.write_table(plain(table), file)
            else:
                file.write(as_csv(table))
    except OSError as error:
        raise UserError(f"{shown(path)} cannot be written ({error}); give another name") from error
