"""A run on the same data comes to the same student, bit for bit, whatever format they are in."""

from pathlib import Path

import as_formats
import pytest

import ray_mentor
from ray_mentor.config import TrainConfig

pytestmark = pytest.mark.long

KINDS = {
    "features": {kind: as_formats.OF_FEATURES[kind] for kind in ("csv", "jsonl", "npz", "saved dataset")},
    "images": {kind: as_formats.OF_IMAGES[kind] for kind in ("images", "csv of paths", "npz", "webdataset")},
}


def student(data):
    """The bytes of the params after one epoch in this process."""
    small = {"epochs": 1, "workers": 0, "meta_size": 6, "batch_size": 8, "student": "mlp", "run_name": "run"}
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
