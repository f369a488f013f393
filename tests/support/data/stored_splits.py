"""Splits whose training samples stay in Parquet."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from typing_extensions import override

from ray_mentor.data import FeatureInputs, Splits
from ray_mentor.data.plan.order import AbstractOrder, Shuffled
from ray_mentor.data.readers.formats.parquet import ParquetPart
from ray_mentor.data.readers.tables.columns import Columns
from ray_mentor.data.readers.tables.stored import stored_inputs
from ray_mentor.data.readers.tables.table import open_table
from ray_mentor.data.samples.rows import Rows
from ray_mentor.data.storage.spread import in_threads

GROUP = 16  # rows


def stored(splits: Splits, folder: Path, shuffle_rows: int = 40) -> Splits:
    """The same splits, with the training samples' features in two files of several row groups."""
    train = splits.train
    assert isinstance(train.inputs, FeatureInputs)
    values = train.inputs.values[:]
    names = tuple(f"x{place}" for place in range(values.shape[1]))
    table = pa.table({"id": train.ids, "label": train.labels, **dict(zip(names, values.T, strict=True))})
    half = len(train) // 2
    files = (folder / "train-0.parquet", folder / "train-1.parquet")
    for file, part in zip(files, (table.slice(0, half), table.slice(half)), strict=True):
        pq.write_table(part, file, row_group_size=GROUP)
    columns = Columns("label", None, "id", None, names)
    inputs, _ = stored_inputs(
        open_table(tuple(map(ParquetPart, files)), columns), columns, in_threads, shuffle_rows, str(folder)
    )
    return dataclasses.replace(splits, train=train.with_inputs(inputs))


@dataclass(frozen=True)
class InParts(AbstractOrder):
    """The order of data in memory, streamed as if it had windows."""

    n: int
    parts: int = 4

    @override
    def __len__(self) -> int:
        return self.n

    @override
    def windows(self, seed: int, epoch: int) -> list[Rows]:
        return np.array_split(Shuffled(self.n).rows(seed, epoch), self.parts)
