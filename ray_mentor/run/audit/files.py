"""An audit as files: what a run leaves at its end, and what other trainers and tools read."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet

from ray_mentor.run.audit.audit import Audit, plain
from ray_mentor.run.directory import RunDirectory
from ray_mentor.run.findings.new_files import write_new

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


def write_table(table: pa.Table, path: str) -> None:
    """Writes a table as Parquet, where the name ends so, and else as CSV; nothing is written over.

    Raises:
        UserError: there is something already, or it can't be written.
    """
    if path.endswith(".parquet"):
        write_new(path, lambda file: pyarrow.parquet.write_table(plain(table), file))
    else:
        write_new(path, lambda file: file.write(as_csv(table)))
