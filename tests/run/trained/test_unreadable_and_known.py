"""New data of which some can't be read, and some are what the student was trained on: both are said, and counted."""

from __future__ import annotations

import io
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest
from PIL import Image
from trained_students import CLASSES, FEATURES, NAMES, feature_samples, image_samples, images, left_by, named, seeded

from ray_mentor import Student
from ray_mentor.data import ImageInputs

PIXELS = images(count=12)
LABELS = np.arange(12) % 3


def encoded(pixels: np.ndarray) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels.squeeze()).save(file, "PNG")
    return file.getvalue()


@pytest.fixture
def of_images(tmp_path: Path) -> str:
    samples = image_samples(PIXELS)
    build = named(samples)
    return left_by(tmp_path / "run", samples, build, seeded(build))


def written(broken: list[int], name: str = "new.parquet") -> str:
    """With images that are cut off after their head, or, those of even rows, no images at all."""
    whole = [encoded(each) for each in PIXELS]
    files = [(b"no" if i % 2 == 0 else each[:60]) if i in broken else each for i, each in enumerate(whole)]
    ids = [f"s{i}" for i in range(len(files))]
    labels = [CLASSES[label] for label in LABELS]
    pyarrow.parquet.write_table(pa.table({"image": files, "sample_id": ids, "label": labels}), name, row_group_size=4)
    return name


def test_images_that_cannot_be_decoded_have_no_prediction(command: Any, of_images: str) -> None:
    words = ("predict", of_images, "--data", written([0, 7, 8]), "--out", "p.parquet", "--probabilities")
    code, said = command(*words)
    assert code == 2
    assert "new.parquet (sample id s0) can't be decoded" in said
    assert said.endswith("; replace it, or leave all such images out: --skip-broken\n")
    code, said = command(*words, "--skip-broken")
    assert code == 0
    file = Path("new.parquet").absolute()
    places = ", ".join(f"row {i} of {file} (sample id s{i})" for i in (0, 7, 8))
    assert f"left out 3 images that can't be decoded (skip_broken): {places}\n" in said
    assert said.endswith("\n9 predictions are in p.parquet\n")
    found = pyarrow.parquet.read_table("p.parquet")
    there = [1, 2, 3, 4, 5, 6, 9, 10, 11]
    assert found["sample_id"].to_pylist() == [f"s{i}" for i in there]
    expected = Student.from_run(of_images).predict(PIXELS[there])
    assert np.stack([found[f"p_{name}"] for name in CLASSES], 1) == pytest.approx(expected, abs=1e-6)


def test_labels_go_with_the_images_that_are_left(command: Any, of_images: str) -> None:
    code, said = command("evaluate", of_images, "--data", written([0, 1, 4, 5, 6, 7, 11]), "--skip-broken")
    assert code == 0
    assert re.search(r"left out 7 images .* \(sample id s0\), .* \(sample id s6\), \.\.\.\n", said)
    assert "sample id s7" not in said
    there = [2, 3, 8, 9, 10]
    right = Student.from_run(of_images).predict(PIXELS[there]).argmax(1) == LABELS[there]
    found = json.loads(Path(of_images, "evaluation.json").read_text())
    assert (found["samples"], found["left_out"], found["accuracy"]) == (5, 7, pytest.approx(right.mean()))
    assert re.search("left out, can't be decoded +7 ", said)


@pytest.mark.parametrize("broken", [list(range(12)), list(range(1, 12, 2))])
def test_nothing_that_can_be_read(command: Any, of_images: str, broken: list[int]) -> None:
    written(broken)
    if len(broken) < 12:  # heads that can be read, bodies that can't
        table = pyarrow.parquet.read_table("new.parquet").take(broken)
        pyarrow.parquet.write_table(table, "new.parquet")
    code, said = command("predict", of_images, "--data", "new.parquet", "--out", "p.parquet", "--skip-broken")
    assert code == 2
    assert said == "error: none of the images can be decoded, but at least one is needed; look at the data\n"
    assert not Path("p.parquet").exists()


def test_features_cannot_be_skipped(command: Any, run: str) -> None:
    table({name: FEATURES[:, place] for place, name in enumerate(NAMES)})
    code, said = command("predict", run, "--data", "new.parquet", "--out", "p.csv", "--skip-broken")
    assert code == 2
    assert said == (
        "error: skip_broken is True, but the student was trained on 4 features, not on images or texts; leave it out\n"
    )


def table(columns: dict[str, Any], name: str = "new.parquet") -> None:
    pyarrow.parquet.write_table(pa.table(columns), name)


TRAINED = [3, 70, 71, 500]


def test_samples_that_were_trained_on_are_told_by_what_they_hold(command: Any, tmp_path: Path) -> None:
    samples = feature_samples(FEATURES)
    build = named(samples, "mlp")
    trained_on = samples.select(np.array(TRAINED))
    run = left_by(tmp_path / "run", samples, build, seeded(build), names=NAMES, trained_on=trained_on)
    labels = np.random.default_rng(2).integers(0, 3, 600)
    columns = {name: FEATURES[:, place] for place, name in reversed(list(enumerate(NAMES)))}
    table({**columns, "label": [CLASSES[label] for label in labels]})
    code, said = command("evaluate", run, "--data", "new.parquet")
    assert code == 0
    warning = "4 of 600 samples were trained on by this run (told by what they hold)"
    assert f"warning: {warning}: what is measured on them flatters\n" in said
    found = json.loads(Path(run, "evaluation.json").read_text())
    right = Student.from_run(run).predict(FEATURES).argmax(1) == labels
    others = np.delete(right, TRAINED)
    assert (found["warning"], found["trained_on"], found["samples"]) == (warning, 4, 600)
    assert found["others"]["samples"] == 596
    assert found["others"]["accuracy"] == pytest.approx(others.mean())
    assert found["accuracy"] == pytest.approx(right.mean())
    assert re.search(rf"accuracy on the other 596 +{others.mean():.4f} \(", said)
    assert re.search("trained on +4 of these samples, which flatters", said)
    code, said = command("predict", run, "--data", "new.parquet", "--out", "p.csv")
    assert f"\n{warning}\n" in f"\n{said}"
    rest = np.delete(np.arange(600), TRAINED)
    table({**{name: column[rest] for name, column in columns.items()}, "label": [CLASSES[i] for i in labels[rest]]})
    code, said = command("evaluate", run, "--data", "new.parquet")
    assert "trained on" not in said
    found = json.loads(Path(run, "evaluation.json").read_text())
    assert (found["warning"], found["trained_on"], found["others"]) == (None, 0, None)
    table({**{name: column[TRAINED] for name, column in columns.items()}, "label": ["ape"] * 4})
    code, said = command("evaluate", run, "--data", "new.parquet")
    assert "warning: 4 of 4 samples were trained on" in said
    assert json.loads(Path(run, "evaluation.json").read_text())["others"] is None


def test_images_are_known_with_the_margin_that_training_held(command: Any, tmp_path: Path) -> None:
    pixels = images((12, 12, 3), count=9)
    samples = image_samples(pixels)
    samples = samples.with_inputs(ImageInputs(pixels, samples.inputs.scale, side=8))
    build = named(samples)
    run = left_by(tmp_path / "run", samples, build, seeded(build), trained_on=samples.select(np.arange(5)))
    for i, each in enumerate(pixels):
        Path("new").mkdir(exist_ok=True)
        Path(f"new/{i}.png").write_bytes(encoded(each))
    _, said = command("predict", run, "--data", "new", "--out", "p.csv")
    assert "5 of 9 samples were trained on by this run" in said


def test_a_damaged_file_of_what_was_trained_on_is_named(command: Any, tmp_path: Path) -> None:
    samples = feature_samples(FEATURES)
    build = named(samples, "mlp")
    run = left_by(tmp_path / "run", samples, build, seeded(build), names=NAMES, trained_on=samples)
    table({name: FEATURES[:, place] for place, name in enumerate(NAMES)})
    file = Path(run, "student/trained_on.u64")
    whole = file.read_bytes()
    assert len(whole) == 600 * 8
    for content in (whole[:-3], whole[::-1]):
        file.write_bytes(content)
        code, said = command("predict", run, "--data", "new.parquet", "--out", "p.csv")
        assert code == 2
        assert said == f"error: {run}/student/trained_on.u64 is damaged; put it back, or remove it\n"
