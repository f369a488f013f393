"""Parquet files."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from typing_extensions import override

from ray_mentor.data.readers.formats.part import AbstractPart, Rows, reading
from ray_mentor.data.readers.places import File
from ray_mentor.data.stores import resolved


@dataclass(frozen=True)
class ParquetPart(AbstractPart):
    """A Parquet file, whose row groups can be read one by one."""

    kind = "Parquet"
    file: File

    @override
    def __len__(self) -> int:
        with reading(self, self.kind):
            rows: int = self._footer().num_rows
        return rows

    @override
    def schema(self) -> pa.Schema:
        with reading(self, self.kind):
            return self._footer().schema.to_arrow_schema()

    @override
    def about(self, columns: list[str], strings: list[str]) -> pa.Table:
        with reading(self, self.kind):
            # Strings stay in their dictionary: a label of a megabyte, stored once for a million rows, stays one.
            files, path = (None, self.file) if isinstance(self.file, Path) else resolved(self.file)
            stored = pq.read_table(path, columns=columns, partitioning=None, read_dictionary=strings, filesystem=files)
            stored.validate(full=True)
        return stored

    @override
    def batches(self, columns: list[str], size: int) -> Iterator[pa.RecordBatch]:
        with reading(self, self.kind), self._opened() as parquet:
            yield from parquet.iter_batches(size, columns=columns)

    @override
    def between(self, start: int, stop: int, columns: list[str], size: int) -> Iterator[pa.RecordBatch]:
        with reading(self, self.kind), self._opened() as parquet:
            first = 0
            for group in range(parquet.num_row_groups):
                after = first + parquet.metadata.row_group(group).num_rows
                if after > start and first < stop:
                    for batch in parquet.iter_batches(size, row_groups=[group], columns=columns):
                        low, high = max(start - first, 0), min(stop - first, len(batch))
                        if high > low:
                            yield batch.slice(low, high - low)
                        first += len(batch)
                first = after

    @override
    def group_sizes(self) -> list[int]:
        with reading(self, self.kind):
            about = self._footer()
            return [about.row_group(number).num_rows for number in range(about.num_row_groups)]

    @override
    def take(self, rows: Rows, columns: list[str]) -> pa.Table:
        with reading(self, self.kind), self._opened() as parquet:
            about = parquet.metadata
            firsts = np.cumsum([0, *(about.row_group(number).num_rows for number in range(about.num_row_groups))])
            group = np.searchsorted(firsts, rows, side="right") - 1
            by_group = np.argsort(group, kind="stable")
            parts = []
            for places in runs(group, by_group):
                number = int(group[places[0]])
                stored = parquet.read_row_group(number, columns=columns)
                parts.append(stored.take(pa.array(rows[places] - firsts[number])).combine_chunks())
        return pa.concat_tables(parts).take(pa.array(np.argsort(by_group, kind="stable")))

    @override
    def at(self, file: File) -> ParquetPart:
        return dataclasses.replace(self, file=file)

    def _opened(self) -> pq.ParquetFile:
        if isinstance(self.file, Path):
            return pq.ParquetFile(self.file)
        files, path = resolved(self.file)
        return pq.ParquetFile(path, filesystem=files, metadata=self._footer_afar)

    def _footer(self) -> pq.FileMetaData:
        return pq.read_metadata(self.file) if isinstance(self.file, Path) else self._footer_afar

    @cached_property
    def _footer_afar(self) -> pq.FileMetaData:
        """Of a far file, which is asked for it once."""
        assert isinstance(self.file, str)
        files, path = resolved(self.file)
        return pq.read_metadata(path, filesystem=files)

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name != "_footer_afar"}


def runs(values: Rows, order: Rows) -> list[Rows]:
    """``order``, cut where the values in that order change."""
    return np.split(order, np.flatnonzero(np.diff(values[order])) + 1) if len(order) else []
