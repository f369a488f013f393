"""CIFAR-10 with the labels that people gave its images (CIFAR-N: Wei et al. 2022, CC BY-NC 4.0)."""

from __future__ import annotations

import math
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from ray_mentor import TrainConfig

CIFAR = Path(__file__).resolve().parents[3] / "shared" / "data" / "cifar10"
"""CIFAR-10 as Parquet, beside the project; `--cifar` names another place."""

PEOPLE = CIFAR.parent / "cifar10n" / "labels.parquet"
"""The labels; `--people` names another place."""


def labelled_by_people(which: str, *, work: Path, cifar: Path, people: Path) -> Path:
    """A folder of CIFAR-10 whose training labels are those of CIFAR-N, the official ones beside them."""
    folder = work / f"cifar10n-{which}"
    if not (folder / "test.parquet").exists():
        given = pq.read_table(people)
        train = pa.concat_tables(pq.read_table(path) for path in sorted(cifar.glob("train*.parquet")))
        rows = pc.index_in(train["sample_id"], given["sample_id"])
        assert rows.null_count == 0, "an image has no label"
        labels = given[which].take(rows)
        test = pq.read_table(cifar / "test.parquet")
        for name, table, label in (("train", train, labels), ("test", test, test["label"])):
            whole = table.append_column("true_label", table["label"])
            at = whole.schema.get_field_index("label")
            whole = whole.set_column(at, "label", label.cast(pa.int8()))
            write(whole.replace_schema_metadata(train.schema.metadata), folder / f"{name}.parquet")
    return folder


def told_by_people(base: TrainConfig, folder: Path) -> TrainConfig:
    """The run on labels that people gave, in a folder of :func:`labelled_by_people`."""
    return base.changed(data=str(folder), noise="none", true_label_column="true_label")


def write(table: pa.Table, path: Path) -> None:
    """Whole or not at all, in four row groups."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(".part")
    pq.write_table(table, part, row_group_size=max(1, math.ceil(len(table) / 4)))
    part.rename(path)
