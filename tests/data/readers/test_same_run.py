"""A run on the same data comes to the same student, bit for bit, whatever format they are in."""

import json
from pathlib import Path

import as_formats
import pyarrow.parquet as pq
import pytest

import ray_mentor
from ray_mentor.cli import main
from ray_mentor.config import TrainConfig

pytestmark = pytest.mark.long

KINDS = {
    "features": {kind: as_formats.OF_FEATURES[kind] for kind in ("csv", "jsonl", "npz", "saved dataset")},
    "images": {kind: as_formats.OF_IMAGES[kind] for kind in ("images", "csv of paths", "npz", "webdataset")},
}


def student(data, **more):
    """The bytes of the params after one epoch in this process."""
    trusted = {} if "meta_data" in more else {"meta_size": 6}
    small = {"epochs": 1, "workers": 0, "batch_size": 8, "student": "mlp", "run_name": "run", **trusted, **more}
    run = TrainConfig().changed(data=str(data), storage_path=f"{data}-runs", **small)
    return (Path(ray_mentor.train(run).path) / "student/model.safetensors").read_bytes()


@pytest.mark.parametrize("what", KINDS)
def test_the_student_is_the_same(tmp_path, what):
    tables = as_formats.images()
    if what == "features":
        tables = {split: table.drop(columns="truth") for split, table in as_formats.features().items()}
    wanted = student(as_formats.parquet(tmp_path / "parquet", tables))
    for kind, write in KINDS[what].items():
        assert student(write(tmp_path / kind, tables)) == wanted, kind


def test_numbers_from_one_on_are_as_many_classes_as_there_are(tmp_path):
    """As if they were called by words: no class 0, which nobody has, and which noise would make of others."""
    wanted, trusted, noisy = {"cat": 1, "dog": 2, "ox": 3}, {}, {"noise": "symmetric:0.4"}
    for name in ("words", "numbers"):
        tables = {split: table.drop(columns="truth") for split, table in as_formats.features().items()}
        if name == "numbers":
            tables = {split: table.assign(label=table["label"].map(wanted)) for split, table in tables.items()}
        as_formats.parquet(tmp_path / name, tables)
        some = tables["train"][tables["train"]["label"].isin(["cat", "dog", 1, 2])][:8]
        trusted[name] = str(as_formats.csv(tmp_path / f"{name}-trusted", {"train": some}) / "train.csv")
    words, numbers = (student(tmp_path / name, meta_data=trusted[name], **noisy) for name in ("words", "numbers"))
    assert words == numbers
    said = {}
    for name in ("words", "numbers"):
        run, out = f"{tmp_path}/{name}-runs/run", f"{tmp_path}/{name}.parquet"
        assert main(["evaluate", run, "--data", str(tmp_path / name)]) == 0
        assert main(["predict", run, "--data", str(tmp_path / name), "--out", out]) == 0
        right = json.loads(Path(run, "evaluation.json").read_text())
        said[name] = (right["accuracy"], pq.read_table(out)["class"].to_pylist())
    assert said["numbers"] == (said["words"][0], [str(wanted[name]) for name in said["words"][1]])
