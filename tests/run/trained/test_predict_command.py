"""``ray-mentor predict``: new data of any shape that fits, in a file a row a sample."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet
import pytest
import torch
from PIL import Image
from torchvision.transforms import v2
from trained_students import CLASSES, FEATURES, NAMES, feature_samples, image_samples, images, left_by, named, seeded

from ray_mentor import DataConfig, Student
from ray_mentor.data import ImageInputs
from ray_mentor.data.readers import Known, read_new
from ray_mentor.errors import UserError


def columns(values: np.ndarray, *names: str) -> dict[str, Any]:
    return {name: values[:, NAMES.index(name)] for name in names}


def test_features_are_found_by_name_whatever_else_is_there(command: Any, run: str) -> None:
    ids = [f"row-{i}" for i in range(600)]
    table = pa.table({"remark": ["x"] * 600, **columns(FEATURES, "d", "b", "a", "c"), "sample_id": ids})
    pyarrow.parquet.write_table(table, "new.parquet", row_group_size=170)
    code, said = command("predict", run, "--data", "new.parquet", "--out", "p.parquet", "--probabilities")
    assert code == 0
    assert said.endswith("600 predictions are in p.parquet\n")
    expected = Student.from_run(run).predict(FEATURES)
    found = pyarrow.parquet.read_table("p.parquet")
    assert found.column_names == ["sample_id", "class", "probability", "entropy", "p_ape", "p_bee", "p_cow"]
    assert found["sample_id"].to_pylist() == ids
    assert found["class"].to_pylist() == [CLASSES[place] for place in expected.argmax(1)]
    assert found["probability"].to_numpy() == pytest.approx(expected.max(1), abs=1e-6)
    assert found["entropy"].to_numpy() == pytest.approx(-(expected * np.log(expected)).sum(1), abs=1e-5)
    assert np.stack([found[f"p_{name}"] for name in CLASSES], 1) == pytest.approx(expected, abs=1e-6)
    assert len(set(found["class"].to_pylist())) > 1
    pyarrow.parquet.write_table(table.drop_columns(["sample_id"]), "unnamed.parquet")
    assert command("predict", run, "--data", "unnamed.parquet", "--out", "p.csv")[0] == 0
    as_text = pyarrow.csv.read_csv("p.csv")
    assert as_text.column_names == ["sample_id", "class", "probability", "entropy"]
    assert as_text["sample_id"].to_pylist() == list(range(600))
    assert as_text["class"].equals(found["class"])


def test_the_table_says_how_many_of_each_class(command: Any, run: str) -> None:
    pyarrow.parquet.write_table(pa.table(columns(FEATURES, *NAMES)), "new.parquet")
    _, said = command("predict", run, "--data", "new.parquet", "--out", "p.csv")
    expected = Student.from_run(run).predict(FEATURES)
    rows = {line.split()[0]: line.split()[1:] for line in said.splitlines() if line.split()[:1] and "%" in line}
    for place, name in enumerate(CLASSES):
        of_class = expected[expected.argmax(1) == place].max(1)
        mean = [f"{of_class.mean():.3f}"] if len(of_class) else []
        assert rows[name] == [str(len(of_class)), f"{len(of_class) / 600:.1%}", *mean]


def encoded(pixels: np.ndarray) -> list[bytes]:
    found = []
    for image in pixels:
        file = io.BytesIO()
        Image.fromarray(image.squeeze()).save(file, "PNG")
        found.append(file.getvalue())
    return found


def test_images_come_from_several_files_in_order(command: Any, tmp_path: Path) -> None:
    pixels = images(count=520)
    samples = image_samples(pixels)
    build = named(samples)
    run = left_by(tmp_path / "run", samples, build, seeded(build))
    (tmp_path / "new").mkdir()
    for number, part in ((1, slice(0, 300)), (10, slice(300, 301)), (2, slice(301, 520))):
        pyarrow.parquet.write_table(
            pa.table({"image": encoded(pixels[part])}), f"new/{number}.parquet", row_group_size=90
        )
    assert (
        command("predict", run, "--data", "new", "--out", "p.parquet", "--probabilities", "--batch-size", "37")[0] == 0
    )
    found = pyarrow.parquet.read_table("p.parquet")
    assert np.stack([found[f"p_{name}"] for name in CLASSES], 1) == pytest.approx(
        Student.from_run(run).predict(pixels), abs=1e-6
    )
    assert found["sample_id"].to_pylist() == list(range(520)), "over all files"
    pyarrow.parquet.write_table(pa.table({"image": encoded(images((9, 8, 3)))}), "wide.parquet")
    code, said = command("predict", run, "--data", "wide.parquet", "--out", "q.parquet")
    assert code == 2
    assert said == (
        "error: wide.parquet holds colour images of 8×9 (width×height), but the student was trained on colour images "
        "of 8×8 (width×height); bring them to that\n"
    )
    assert not Path("q.parquet").exists()


def test_a_student_of_grey_images_takes_files_in_colour_of_what_is_grey(command: Any, tmp_path: Path) -> None:
    pixels = images((8, 8, 1), count=6)
    samples = image_samples(pixels)
    build = named(samples)
    run = left_by(tmp_path / "run", samples, build, seeded(build))
    files = [*encoded(pixels[:2]), *encoded(pixels[2:].repeat(3, axis=3))]
    pyarrow.parquet.write_table(pa.table({"image": files}), "new.parquet")
    assert command("predict", run, "--data", "new.parquet", "--out", "p.parquet", "--probabilities")[0] == 0
    found = pyarrow.parquet.read_table("p.parquet")
    expected = Student.from_run(run).predict(pixels)
    assert np.stack([found[f"p_{name}"] for name in CLASSES], 1) == pytest.approx(expected, abs=1e-6)
    pyarrow.parquet.write_table(pa.table({"image": [*files, *encoded(images(count=1))]}), "coloured.parquet")
    code, said = command("predict", run, "--data", "coloured.parquet", "--out", "q.parquet")
    assert code == 2
    assert said.startswith("error: the image in row 6 of ")
    assert said.endswith(
        "coloured.parquet (sample id 6) is in colour, but the student was trained on grey images of 8×8 "
        "(width×height); make it grey first, or train on images in colour\n"
    )
    assert not Path("q.parquet").exists()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--out", "p.txt"), "'p.txt' ends neither in .parquet nor in .csv"),
        (("--out", "there.csv"), "'there.csv' is there already"),
        (("--out", "p.csv", "--batch-size", "0"), "batch_size is 0, but it must be at least 1"),
        (("--out", "p.csv", "--data", "nowhere"), "unknown data 'nowhere'; valid: digits, "),
        (("--out", "p.csv", "--data", "digits"),
         "digits holds grey images of 8×8 (width×height), but the student was trained on 4 features"),
        (("--out", "p.csv", "--data", "photos"),
         "photos holds images, but the student takes the columns a, b, c, d, not pictures; name another run, or data"),
        (("--out", "p.csv", "--data", "fewer.parquet"), "fewer.parquet has no column 'd'; its columns are a, b, c; the "
         "student was trained on 4 features, which are found by name"),
        (("--out", "p.csv", "--data", "empty.parquet"), "empty.parquet: no rows, but at least one sample is needed"),
        (("--out", "p.csv", "--data", "texts.parquet"), "column 'd' of texts.parquet is string, but features must be"),
        (("--out", "p.csv", "--data", "holes.parquet"), "holes.parquet (sample id 400) is missing, NaN or too large"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_said_and_nothing_is_written(
    command: Any, run: str, words: tuple[str, ...], said: str
) -> None:
    whole = columns(FEATURES, *NAMES)
    Path("there.csv").touch()
    Path("photos").mkdir()
    Path("photos/1.png").write_bytes(b"none is looked at")
    pyarrow.parquet.write_table(pa.table(whole), "new.parquet")
    pyarrow.parquet.write_table(pa.table(columns(FEATURES, "a", "b", "c")), "fewer.parquet")
    pyarrow.parquet.write_table(pa.table(whole).slice(0, 0), "empty.parquet")
    pyarrow.parquet.write_table(pa.table({**whole, "d": ["x"] * 600}), "texts.parquet")
    pyarrow.parquet.write_table(
        pa.table({**whole, "d": [None if i == 400 else 1.5 for i in range(600)]}), "holes.parquet"
    )
    before = sorted(Path().iterdir())
    code, answer = command("predict", run, "--data", "new.parquet", *words)
    assert code == 2
    assert said in answer
    assert sorted(Path().iterdir()) == before


@pytest.mark.parametrize("name", ["predict", "evaluate", "export"])
@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--studnt", "cnn"), "unknown option --studnt: did you mean --student?"),
        (("--wings", "2"), "unknown option --wings: ray-mentor {name} --help lists those there are"),
        (("--lr", "2"), "unknown option --lr: ray-mentor {name} --help lists those there are"),
        (("--which", "best"), "--which: invalid choice: 'best'"),
    ],
)
def test_an_option_that_there_is_not(command: Any, name: str, words: tuple[str, ...], said: str) -> None:
    code, answer = command(name, "run", *words)
    assert code == 2
    assert said.format(name=name) in answer
    assert answer.startswith("error: ")
    assert len(answer.splitlines()) == 1


def test_features_without_names_are_found_by_their_order(command: Any, tmp_path: Path) -> None:
    """Of a run on arrays in Python, which has none; labels, by whatever usual name, and ids are passed over."""
    samples = feature_samples(FEATURES)
    build = named(samples, "mlp")
    run = left_by(tmp_path / "run", samples, build, seeded(build))
    expected = Student.from_run(run).predict(FEATURES).max(1)
    whole = {f"x{place}": FEATURES[:, place] for place in range(4)}
    ids = list(range(600))
    for more in ({}, {"label": ids}, {"Target": ids}, {"sample_id": ids, "class": ["x"] * 600}):
        pyarrow.parquet.write_table(pa.table({**more, **whole}), "new.parquet")
        Path("p.parquet").unlink(missing_ok=True)
        assert command("predict", run, "--data", "new.parquet", "--out", "p.parquet")[0] == 0, more
        found = pyarrow.parquet.read_table("p.parquet")["probability"].to_numpy()
        assert found == pytest.approx(expected, abs=1e-6)
    whole["remark"] = ["x"] * 600
    pyarrow.parquet.write_table(pa.table(whole), "new.parquet")
    assert command("predict", run, "--data", "new.parquet", "--out", "q.parquet") == (
        2,
        "error: new.parquet has 5 columns beside labels and ids (x0, x1, x2, x3, remark), of which 'remark' hold no "
        "numbers, but the student was trained on 4 features without names; bring the file to those columns, in their "
        "order\n",
    )


def test_features_for_a_student_of_images(command: Any, tmp_path: Path) -> None:
    samples = image_samples(images())
    build = named(samples)
    run = left_by(tmp_path / "run", samples, build, seeded(build))
    pyarrow.csv.write_csv(pa.table(columns(FEATURES, "a", "b")), "new.csv")
    assert command("predict", run, "--data", "new.csv", "--out", "p.parquet") == (
        2,
        "error: new.csv has no column of images (its columns are a, b), but the student was trained on colour images "
        "of 8×8 (width×height); name it with --image-column\n",
    )


def test_a_student_that_is_not_named_is_asked_for_before_a_file_that_is_there(command: Any, tmp_path: Path) -> None:
    samples = feature_samples(FEATURES)
    build = named(samples, "mlp")
    run = left_by(tmp_path / "run", samples, lambda: build(), seeded(build), names=NAMES)
    Path("there.csv").touch()
    code, said = command("predict", run, "--data", "new.parquet", "--out", "there.csv")
    assert code == 2
    assert "is built by code of your own; say by what: --student module:function" in said


def test_a_run_that_ended_early_says_so(command: Any, tmp_path: Path) -> None:
    samples = feature_samples(FEATURES)
    build = named(samples, "mlp")
    run = left_by(tmp_path / "run", samples, build, seeded(build), names=NAMES, finished=False)
    pyarrow.parquet.write_table(pa.table(columns(FEATURES, *NAMES)), "new.parquet")
    _, said = command("predict", run, "--data", "new.parquet", "--out", "p.csv")
    assert said.startswith("the run ended early: this is the student after epoch 4 of 4\n")


def test_images_of_any_size_are_brought_to_what_the_student_was_fed(command: Any, tmp_path: Path) -> None:
    samples = image_samples(images((12, 12, 3)))
    assert isinstance(samples.inputs, ImageInputs)
    samples = samples.with_inputs(ImageInputs(samples.inputs.values, samples.inputs.scale, side=8))
    build = named(samples)
    run = left_by(tmp_path / "run", samples, build, seeded(build))
    pixels = [images((12 + i % 7, 23 - i, 3), count=1)[0] for i in range(12)]
    pyarrow.parquet.write_table(pa.table({"image": [encoded(each[None])[0] for each in pixels]}), "new.parquet")
    assert command("predict", run, "--data", "new.parquet", "--out", "p.parquet", "--probabilities")[0] == 0
    found = pyarrow.parquet.read_table("p.parquet")
    resized = v2.Compose([v2.Resize(12, antialias=True), v2.CenterCrop(12), v2.CenterCrop(8)])
    fed = [resized(torch.from_numpy(each).permute(2, 0, 1)).permute(1, 2, 0).numpy() for each in pixels]
    expected = Student.from_run(run).predict(np.stack(fed))
    assert np.stack([found[f"p_{name}"] for name in CLASSES], 1) == pytest.approx(expected, abs=1e-6)
    student = Student.from_run(run)
    for i, each in enumerate(pixels):
        Path("one.png").write_bytes(encoded(each[None])[0])
        made = student.prepare("one.png")
        assert np.array_equal(made, fed[i])
        assert np.array_equal(made, student.prepare(Image.fromarray(each)))
    assert student.prepare(Image.fromarray(pixels[0]).convert("L")).shape == (8, 8, 3)
    with pytest.raises(UserError, match=r"the shorter side resized to 12, and the middle 8×8 cropped"):
        student.predict(np.stack([pixels[0]]))
    for name, said in (("none.png", "'none.png' can't be read"), ("no.png", "'no.png' can't be decoded")):
        Path("no.png").write_bytes(b"no")
        with pytest.raises(UserError, match=said):
            student.prepare(name)
    pyarrow.parquet.write_table(pa.table({"image": [*encoded(images(count=1)), b"no"]}), "broken.parquet")
    code, said = command("predict", run, "--data", "broken.parquet", "--out", "q.parquet")
    assert code == 2
    assert "broken.parquet (sample id 1) can't be decoded" in said
    assert "replace it, or leave all such images out: --skip-broken" in said


@pytest.mark.parametrize("kind", ["parquet", "csv"])
def test_a_stretch_of_rows_is_those_rows(tmp_path: Path, kind: str) -> None:
    """What each worker reads: over the ends of files and of row groups, and beginning within them."""
    table = pa.table(columns(FEATURES, *NAMES))
    (tmp_path / "new").mkdir()
    for number, (first, after) in enumerate(((0, 250), (250, 251), (251, 600))):
        part = table.slice(first, after - first)
        if kind == "csv":
            pyarrow.csv.write_csv(part, tmp_path / f"new/{number}.csv")
        else:
            pyarrow.parquet.write_table(part, tmp_path / f"new/{number}.parquet", row_group_size=90)
    config = DataConfig(data=str(tmp_path / "new"))
    new = read_new(config, Known(CLASSES, (4,), NAMES), labelled=False)
    for start, stop in ((0, 600), (0, 1), (89, 92), (95, 180), (249, 252), (250, 251), (340, 345), (599, 600)):
        found = np.concatenate([part.values for part in new.source.parts(start, stop)])
        assert found == pytest.approx(FEATURES[start:stop], rel=1e-6), (start, stop)
