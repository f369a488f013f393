"""Data and runs in an object store: moto's S3 on this machine, asked by pyarrow's own client."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import as_formats
import pytest
from object_store import Store, object_store

import ray_mentor
from ray_mentor.cli import main
from ray_mentor.config import DataConfig, TrainConfig
from ray_mentor.data.readers import read
from ray_mentor.errors import UserError
from ray_mentor.run.directory import RunDirectory

pytestmark = pytest.mark.long

FEATURES = ("csv", "jsonl", "npz", "saved dataset")
IMAGES = ("images", "csv of paths", "webdataset")
KINDS = {
    "features parquet": (as_formats.parquet, as_formats.features()),
    **{f"features {kind}": (as_formats.OF_FEATURES[kind], as_formats.features()) for kind in FEATURES},
    **{f"images {kind}": (as_formats.OF_IMAGES[kind], as_formats.images(8)) for kind in IMAGES},
}


@pytest.fixture(scope="module")
def store() -> Iterator[Store]:
    with pytest.MonkeyPatch.context() as patch, object_store(patch) as started:
        yield started


@pytest.mark.parametrize("kind", KINDS)
def test_each_format_is_read_as_from_a_disk(tmp_path: Path, store: Store, kind: str) -> None:
    write, tables = KINDS[kind]
    settings = {"true_label_column": "truth"} if kind.startswith("features") and "npz" not in kind else {}
    place = write(tmp_path / kind, tables)
    store.put(tmp_path / f"{place.name} files")  # which a table of paths lists
    far = store.put(place)
    wanted = read(as_formats.config(place, **settings))
    for backend in ("memory", "arrow"):
        cache = str(tmp_path / "cache")
        found = read(DataConfig(data=far, data_backend=backend, data_cache=cache, **settings))
        as_formats.same_raw(wanted, found)


@pytest.mark.parametrize("kind", ["images", "csv of paths", "webdataset"])
@pytest.mark.parametrize("backend", ["memory", "arrow"])
def test_an_image_is_asked_for_once(tmp_path: Path, store: Store, kind: str, backend: str) -> None:
    tables = as_formats.images(24)
    place = as_formats.OF_IMAGES[kind](tmp_path / f"once {kind} {backend}", tables)
    store.put(tmp_path / f"{place.name} files")
    far = store.put(place)
    store.requests.clear()
    read(DataConfig(data=far, data_backend=backend, data_cache=str(tmp_path / "cache"), image_size=8))
    images = sum(map(len, tables.values()))
    gets, looks = (sum(asked.startswith(how) for asked in store.requests) for how in ("GET", "HEAD"))
    assert gets <= (20 if kind == "webdataset" else images + 10)
    assert looks <= (20 if kind == "webdataset" else images * (2 if kind == "csv of paths" else 1) + 10)


def run(data: str, storage: str, **settings: Any) -> ray_mentor.Outcome:
    small = {"workers": 0, "meta_size": 6, "batch_size": 8, "student": "mlp", "run_name": "run"}
    return ray_mentor.train(TrainConfig().changed(data=data, storage_path=storage, **small, **settings))


def test_a_run_is_kept_there(tmp_path: Path, store: Store) -> None:
    """It is what it is on a disk, goes on, and the commands read it."""
    place = as_formats.csv(
        tmp_path / "numbers", {name: t.drop(columns="truth") for name, t in as_formats.features().items()}
    )
    far = store.put(place)
    here = run(str(place), str(tmp_path), epochs=1)
    there = run(far, "s3://bucket/runs", epochs=1)
    model = "student/model.safetensors"
    assert RunDirectory(there.path).read(model) == Path(here.path, model).read_bytes()
    run(far, "s3://bucket/runs", epochs=2, resume=True)
    assert (RunDirectory(there.path).read("metrics.csv") or b"").count(b"\n") == 3
    for words in (
        ["predict", there.path, "--data", f"{far}/test.csv", "--out", str(tmp_path / "said.csv")],
        ["evaluate", there.path, "--data", far],
        ["audit", there.path],
        ["pick", there.path, "--out", str(tmp_path / "ids.csv"), "--count", "6"],
    ):
        assert main(words) == 0, words
    assert len((tmp_path / "said.csv").read_text().splitlines()) == 31


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ("s3://nobucket/data", "no such file or folder: s3://nobucket/data"),
        ("s3://bucket/nothing", "no such file or folder: s3://bucket/nothing"),
        ("s3://bucket/no such thing", "no such file or folder: s3://bucket/no such thing"),
    ],
)
def test_what_is_not_there_is_said(store: Store, data: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        read(DataConfig(data=data))


def test_files_that_may_not_be_read_are_not_called_damaged(
    tmp_path: Path, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    far = store.put(as_formats.csv(tmp_path / "secret", as_formats.features()))
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    with pytest.raises(
        UserError, match=r"train.csv can't be read \(.*ACCESS_DENIED.*\); check the address, the network,"
    ):
        read(DataConfig(data=far))
