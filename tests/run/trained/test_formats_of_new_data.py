"""New data in every format that training takes: the same samples get the same predictions."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet
import pytest
from PIL import Image
from trained_students import CLASSES, feature_samples, image_samples, images, left_by, named, seeded

from ray_mentor import Student, cli

NAMES = ("a", "b", "c", "d")
FEATURES = np.random.default_rng(1).normal(5, 3, (90, 4)).astype(np.float32)
PIXELS = images(count=30)
LABELS = np.arange(30) % 3


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> str:
    """Of features, or of images."""
    samples = feature_samples(FEATURES) if request.param == "features" else image_samples(PIXELS)
    build = named(samples, "mlp" if request.param == "features" else "cnn")
    monkeypatch.chdir(tmp_path)
    return left_by(tmp_path / "run", samples, build, seeded(build), names=NAMES if request.param == "features" else ())


def predicted(run: str, data: str) -> pd.DataFrame:
    assert cli.main(("predict", run, "--data", data, "--out", "p.parquet", "--probabilities")) == 0
    return pyarrow.parquet.read_table("p.parquet").to_pandas()


def table() -> pd.DataFrame:
    return pd.DataFrame({"text": "x", **{name: FEATURES[:, place] for place, name in enumerate(NAMES)}})


def as_csv() -> str:
    table().to_csv("new.csv", index=False)
    return "new.csv"


def as_tsv() -> str:
    table()[["d", "c", "b", "a"]].to_csv("new.tsv", sep="\t", index=False)
    return "new.tsv"


def as_jsonl() -> str:
    table().to_json("new.jsonl", orient="records", lines=True, double_precision=15)
    return "new.jsonl"


@pytest.mark.parametrize("run", ["features"], indirect=True)
@pytest.mark.parametrize("write", [as_csv, as_tsv, as_jsonl])
def test_tables_in_text(run: str, write: Any) -> None:
    found = predicted(run, write())
    assert found["probability"].to_numpy() == pytest.approx(Student.from_run(run).predict(FEATURES).max(1), abs=1e-5)
    assert found["sample_id"].tolist() == list(range(90))


def files(folder: str, name: Any) -> None:
    for i, image in enumerate(PIXELS):
        path = Path(folder, name(i))
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(path)


def in_one_folder() -> str:
    files("photos", lambda i: f"{i:02}.png")
    return "photos"


def in_class_folders() -> str:
    files("sorted", lambda i: f"{CLASSES[LABELS[i]]}/{i:02}.png")
    return "sorted"


def listed() -> str:
    files("lying", lambda i: f"{i:02}.png")
    pd.DataFrame({"path": [f"lying/{i:02}.png" for i in range(30)]}).to_csv("list.csv", index=False)
    return "list.csv"


@pytest.mark.parametrize("run", ["images"], indirect=True)
@pytest.mark.parametrize("write", [in_one_folder, in_class_folders, listed])
def test_images_in_files(run: str, write: Any) -> None:
    found = predicted(run, write()).set_index("sample_id")
    expected = Student.from_run(run).predict(PIXELS)
    for i in range(30):
        here = i if write is listed else f"{i:02}.png" if write is in_one_folder else f"{CLASSES[LABELS[i]]}/{i:02}.png"
        assert found.loc[here, "probability"] == pytest.approx(expected[i].max(), abs=1e-5)


@pytest.mark.parametrize("run", ["images"], indirect=True)
def test_one_image(run: str, capsys: pytest.CaptureFixture[str]) -> None:
    files("photos", lambda i: f"{i:02}.png")
    found = predicted(run, "photos/07.png")
    assert found["sample_id"].tolist() == ["07.png"]
    expected = Student.from_run(run).predict(PIXELS[7:8])
    assert found["probability"].tolist() == pytest.approx([expected.max()], abs=1e-5)
    Path("p.parquet").unlink()
    Path("photos/1.heic").touch()
    assert len(predicted(run, "photos")) == 30
    assert "left out 1 files that are no images by name: 1.heic\n" in capsys.readouterr().out


@pytest.mark.parametrize("run", ["images"], indirect=True)
def test_class_folders_are_labels(run: str) -> None:
    files("sorted/val", lambda i: f"{CLASSES[LABELS[i]]}/{i:02}.png")
    assert cli.main(("evaluate", run, "--data", "sorted/val")) == 0
    said = Student.from_run(run).predict(PIXELS).argmax(1)
    found = json.loads(Path(run, "evaluation.json").read_text())
    assert (found["samples"], found["accuracy"]) == (30, pytest.approx((said == LABELS).mean()))


@pytest.mark.parametrize("run", ["images"], indirect=True)
@pytest.mark.parametrize("lie", ["test/{label}/{i:02}.png", "test/{i:02}.png", "val/{label}/{i:02}.png"])
def test_of_images_in_splits_the_test_split_is_read(run: str, lie: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Also where its images have no class folders, as those of a contest."""

    def name(i: int) -> str:
        return (lie if i % 3 == 1 else "train/{label}/{i:02}.png").format(i=i, label=CLASSES[i // 3 % 3])

    files("photos", name)
    assert predicted(run, "photos")["sample_id"].tolist() == sorted(name(i) for i in range(1, 30, 3))
    said = "photos has splits, of which its test split is read; name a file or folder in it for another"
    assert capsys.readouterr().out.splitlines()[0] == said
    Path("p.parquet").unlink()
    assert len(predicted(run, "photos/train")) == 20
    assert "has splits" not in capsys.readouterr().out


@pytest.mark.parametrize("run", ["images"], indirect=True)
def test_arrays(run: str, capsys: pytest.CaptureFixture[str]) -> None:
    np.savez("new.npz", images=PIXELS, labels=LABELS)
    found = predicted(run, "new.npz")
    assert found["probability"].to_numpy() == pytest.approx(Student.from_run(run).predict(PIXELS).max(1), abs=1e-5)
