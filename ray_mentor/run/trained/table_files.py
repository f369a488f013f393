"""Tables that are written as they come, as Parquet or CSV by the name of the file."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import PurePath
from typing import BinaryIO

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet

from ray_mentor.errors import UserError, shown
from ray_mentor.run.findings.new_files import check_free, write_new

_ENDINGS = (".parquet", ".csv")


def check_table_file(path: str) -> None:
    """Raises a UserError if no table can be written there."""
    if PurePath(path).suffix.lower() not in _ENDINGS:
        raise UserError(f"{shown(path)} ends neither in .parquet nor in .csv, which says what is written; name it so")
    check_free(path)


def write_table_file(path: str, schema: pa.Schema, tables: Iterator[pa.Table]) -> None:
    """Writes them one after the other; the file is there when all of it is.

    Raises:
        UserError: something is there already, or it can't be written; what ``tables`` raises.
    """

    def fill(file: BinaryIO) -> None:
        is_csv = PurePath(path).suffix.lower() == ".csv"
        writer = pyarrow.csv.CSVWriter(file, schema) if is_csv else pyarrow.parquet.ParquetWriter(file, schema)
        with writer:
            for table in _grouped(tables):
                writer.write_table(table.cast(schema))

    write_new(path, fill)


def _grouped(tables: Iterator[pa.Table]) -> Iterator[pa.Table]:
    """So many rows together as make a row group."""
    waiting: list[pa.Table] = []
    for table in tables:
        waiting.append(table)
        if sum(map(len, waiting)) >= _GROUP_ROWS:
            yield pa.concat_tables(waiting)
            waiting = []
    if waiting:
        yield pa.concat_tables(waiting)


_GROUP_ROWS = 2**16
