"""The same data, written in each format."""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image
from small_data import image_bytes

from ray_mentor.config import DataConfig
from ray_mentor.data import Samples
from ray_mentor.data.readers import Raw

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
        """The images lie beside the folder: in it, their class folders could be the data as well."""
        files = image_files(folder.with_name(f"{folder.name} files"), tables)
        lists = {}
        for split, table in tables.items():
            paths = [f"../{files.name}/{path}" for path in table["sample_id"]]
            lists[split] = table.assign(file_name=paths).drop(columns="image")
        return write(folder, lists)

    return written


def npz(folder: Path, tables: Tables) -> Path:
    """Both splits in one file, as Keras has them."""
    arrays = {}
    for split, table in tables.items():
        if "image" in table:
            arrays[f"x_{split}"] = np.stack([np.asarray(Image.open(io.BytesIO(each))) for each in table["image"]])
        else:
            arrays[f"x_{split}"] = table[["width", "count"]].to_numpy()
        if "truth" in table:
            arrays[f"true_labels_{split}"] = table["truth"].to_numpy(str)
        if "label" in table:
            arrays[f"y_{split}"] = table["label"].to_numpy(str)
        ids = table["sample_id"]
        arrays[f"ids_{split}"] = ids.to_numpy() if ids.dtype == "int64" else ids.to_numpy(str)
    np.savez(_parent(folder / "own.npz"), **arrays)
    return folder


def npz_files(folder: Path, tables: Tables) -> Path:
    """A file for each split."""
    for split, table in tables.items():
        npz(folder / split, {"train": table})
        with np.load(folder / split / "own.npz") as arrays:
            np.savez_compressed(folder / f"{split}.npz", **{n.removesuffix("_train"): a for n, a in arrays.items()})
        (folder / split / "own.npz").unlink()
    return folder


def saved_dataset(folder: Path, tables: Tables) -> Path:
    """As ``save_to_disk`` writes it, in two files a split."""
    for split, table in tables.items():
        stored = pa.Table.from_pandas(table, preserve_index=False)
        if "image" in table:
            images = [{"bytes": each, "path": None} for each in table["image"]]
            stored = stored.set_column(stored.schema.get_field_index("image"), "image", pa.array(images))
        names = ["data-00000-of-00002.arrow", "data-00001-of-00002.arrow"]
        half = len(stored) // 2
        for name, part in zip(names, (stored.slice(0, half), stored.slice(half)), strict=True):
            with pa.ipc.new_stream(_parent(folder / split / name), stored.schema) as stream:
                stream.write_table(part, max_chunksize=7)
        state = {"_data_files": [{"filename": name} for name in names], "_fingerprint": "0", "_split": split}
        (folder / split / "state.json").write_text(json.dumps(state))
        (folder / split / "dataset_info.json").write_text("{}")
    (folder / "dataset_dict.json").write_text(json.dumps({"splits": list(tables)}))
    return folder


def webdataset(folder: Path, tables: Tables) -> Path:
    """Labels as .cls in the one split, in .json in the other."""
    for split, table in tables.items():
        with tarfile.open(_parent(folder / f"{split}-000.tar"), "w") as archive:
            for row in table.itertuples():
                said = ("cls", f"{row.label}\n") if split == "train" else ("json", json.dumps({"label": row.label}))
                key = row.sample_id.removesuffix(".png")
                add(archive, f"{key}.png", row.image)
                add(archive, f"{key}.{said[0]}", said[1].encode())
    return folder


def add(archive: tarfile.TarFile, name: str, content: bytes) -> None:
    about = tarfile.TarInfo(name)
    about.size = len(content)
    archive.addfile(about, io.BytesIO(content))


def _parent(path: Path) -> Any:
    path.parent.mkdir(parents=True, exist_ok=True)
    return path


OF_FEATURES = {
    "csv": csv,
    "tsv": tsv,
    "semicolons": semicolons,
    "jsonl": jsonl,
    "npz": npz,
    "npz files": npz_files,
    "saved dataset": saved_dataset,
}
OF_IMAGES = {
    "images": image_files,
    "csv of paths": _paths(csv),
    "jsonl of paths": _paths(jsonl),
    "npz": npz,
    "saved dataset": saved_dataset,
    "webdataset": webdataset,
}
STREAMED = {"images", "csv of paths", "jsonl of paths", "saved dataset", "webdataset"}
"""What the backend ray reads."""


def config(path: Path, **settings: Any) -> DataConfig:
    settings = {"data_cache": f"{path}-cache", **settings}
    return DataConfig(data=str(path), **settings)


def same(one: Samples | None, other: Samples | None) -> None:
    """Inputs, labels, ids and classes, bit for bit."""
    if one is None or other is None:
        assert one is other
        return
    rows = np.arange(len(one))
    assert len(one) == len(other)
    assert one.inputs.shape == other.inputs.shape
    assert (one.inputs.values[rows] == other.inputs.values[rows]).all()
    assert (one.inputs.content_hashes() == other.inputs.content_hashes()).all()
    assert one.classes == other.classes
    assert one.labels.tolist() == other.labels.tolist()
    assert (one.true_labels is None) == (other.true_labels is None)
    assert one.true_labels is None or one.true_labels.tolist() == other.true_labels.tolist()
    assert one.ids.tolist() == other.ids.tolist()
    assert one.names == other.names


def same_raw(one: Raw, other: Raw) -> None:
    for split in ("train", "validation", "test"):
        same(getattr(one, split), getattr(other, split))
    assert len(one.features) == len(other.features)  # .npz has no names for them
