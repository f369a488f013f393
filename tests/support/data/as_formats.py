"""The same data, written in each format."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from small_data import image_bytes

Tables = Mapping[str, pd.DataFrame]
"""By split; of images, ``image`` holds the bytes of a PNG, and ``sample_id`` a path."""


def features(rows: int = 60) -> Tables:
    """Numbers, whole ones among them, with ids and true labels."""
    draw = np.random.default_rng(0)
    table = pd.DataFrame(
        {
            "width": draw.standard_normal(rows),
            "count": draw.integers(0, 50, rows),
            "label": draw.choice(["cat", "dog", "ox"], rows),
            "sample_id": draw.permutation(1000)[:rows],
            "truth": draw.choice(["cat", "dog", "ox"], rows),
        }
    )
    return {"train": table[: rows // 2], "test": table[rows // 2 :].reset_index(drop=True)}


def images(rows: int = 24, mode: str = "RGB") -> Tables:
    """Small pictures in the order of their paths."""
    labels = ["cat"] * (rows // 2) + ["dog"] * (rows // 4) + ["ox"] * (rows // 4)

    def table(split: str, first: int) -> pd.DataFrame:
        paths = [f"{split}/{label}/{place:03}.png" for place, label in enumerate(labels)]
        pictures = [image_bytes(first + place, mode=mode) for place in range(len(labels))]
        return pd.DataFrame({"sample_id": paths, "image": pictures, "label": labels})

    return {"train": table("train", 0), "test": table("test", 1000)}


def parquet(folder: Path, tables: Tables) -> Path:
    for split, table in tables.items():
        _parent(folder / f"{split}.parquet")
        pq.write_table(pa.Table.from_pandas(table, preserve_index=False), folder / f"{split}.parquet", row_group_size=7)
    return folder


def csv(folder: Path, tables: Tables, ending: str = "csv", separator: str = ",") -> Path:
    for split, table in tables.items():
        _parent(folder / f"{split}.{ending}")
        table.to_csv(folder / f"{split}.{ending}", sep=separator, index=False)
    return folder


def tsv(folder: Path, tables: Tables) -> Path:
    return csv(folder, tables, "tsv", "\t")


def semicolons(folder: Path, tables: Tables) -> Path:
    return csv(folder, tables, separator=";")


def jsonl(folder: Path, tables: Tables) -> Path:
    for split, table in tables.items():
        _parent(folder / f"{split}.jsonl")
        table.to_json(folder / f"{split}.jsonl", orient="records", lines=True, double_precision=15)
    return folder


def image_files(folder: Path, tables: Tables) -> Path:
    for table in tables.values():
        for path, picture in zip(table["sample_id"], table["image"], strict=True):
            _parent(folder / path).write_bytes(picture)
    return folder


def _paths(write: Callable[[Path, Tables], Path]) -> Callable[[Path, Tables], Path]:
    def written(folder: Path, tables: Tables) -> Path:
        image_files(folder, tables)
        lists = {
            split: table.assign(file_name=table["sample_id"]).drop(columns="image") for split, table in tables.items()
        }
        return write(folder, lists)

    return written


def _parent(path: Path) -> Any:
    path.parent.mkdir(parents=True, exist_ok=True)
    return path


OF_FEATURES = {"csv": csv, "tsv": tsv, "semicolons": semicolons, "jsonl": jsonl}
OF_IMAGES = {"images": image_files, "csv of paths": _paths(csv), "jsonl of paths": _paths(jsonl)}
