"""Samples to be checked by hand: of data, and of a run; and the way back into training."""

from __future__ import annotations

import csv
import re
import shlex
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from hand_made_runs import row, run_of
from PIL import Image
from small_data import write

from ray_mentor import cli
from ray_mentor.config import DataConfig
from ray_mentor.data.splits.splits import prepare

CLASSES = ("ape", "bee", "cow")


def data(path: Path, n: int = 90) -> Path:
    values = {"x": [row % 60 + 0.5 for row in range(n)], "kind": [CLASSES[row % 3] for row in range(n)]}
    return write(path, {**values, "photo": [f"p/{row}.jpg" for row in range(n)]})


def said(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    assert cli.main(["pick", *words]) == 0
    return capsys.readouterr().out


def refused(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    assert cli.main(["pick", *words]) == 2
    return capsys.readouterr().err.removeprefix("error: ").removesuffix("\n")


def rows_in(path: Path) -> list[dict[str, str]]:
    with open(path, newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def filled_in(path: Path, change: dict[str, str]) -> None:
    """As a person does: the given label, where it is right, and another where it is not."""
    rows = rows_in(path)
    for each in rows:
        each["checked_label"] = change.get(each["sample_id"], each["given_label"])
    with open(path, "w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)


def test_of_data_the_classes_are_in_balance_and_no_content_comes_twice(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path, out = data(tmp_path / "data.parquet"), tmp_path / "ids.csv"
    options = ["--label-column", "kind", "--id-column", "photo"]
    text = said(capsys, str(path), "--count", "30", "--out", str(out), *options)
    rows = rows_in(out)
    assert list(rows[0]) == ["sample_id", "given_label", "checked_label"]
    assert Counter(each["given_label"] for each in rows) == dict.fromkeys(CLASSES, 10)
    numbers = [int(each["sample_id"][2:-4]) for each in rows]
    assert all(each["given_label"] == CLASSES[number % 3] for each, number in zip(rows, numbers, strict=True))
    assert len({number % 60 for number in numbers}) == 30
    assert not any(each["checked_label"] for each in rows)
    assert text == (
        f"30 samples to be checked, by given labels of 3 classes (ape: 10, bee: 10, cow: 10): {out}\n"
        "look at each, and write into its column checked_label what it is, the given label too where that is right; "
        "what is left empty counts as not checked\n"
        f"then:\n  ray-mentor train --data {path} {' '.join(options)} --meta-ids {out}\n"
    )
    said(capsys, str(path), "--count", "30", "--out", str(tmp_path / "same.csv"), *options)
    assert rows_in(tmp_path / "same.csv") == rows
    said(capsys, str(path), "--count", "30", "--seed", "1", "--out", str(tmp_path / "other.csv"), *options)
    assert rows_in(tmp_path / "other.csv") != rows


def test_what_is_filled_in_is_the_meta_set(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path, out = data(tmp_path / "data.parquet", 60), tmp_path / "ids.csv"
    text = said(
        capsys, str(path), "--count", "12", "--out", str(out), "--label-column", "kind", "--ignore-columns", "photo"
    )
    ids = [each["sample_id"] for each in rows_in(out)]
    filled_in(out, {ids[0]: "bee", ids[1]: "cow", ids[2]: ""})
    words = shlex.split(text.splitlines()[-1])
    settings: dict[str, Any] = {"data": str(path), "label_column": "kind", "ignore_columns": ("photo",)}
    assert words[2:] == ["--data", str(path), "--label-column", "kind", "--ignore-columns", "photo", "--meta-ids",
                         str(out)]  # fmt: skip
    meta = prepare(DataConfig(**settings, meta_ids=str(out)), 0).meta
    assert meta.ids.tolist() == [int(name) for name in ids[:2] + ids[3:]]
    assert meta.labels.tolist() == [1, 2, *(int(name) % 3 for name in ids[3:])]


def test_no_sample_of_the_test_split_is_picked(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    table = {"x": [row + 0.5 for row in range(60)], "label": [row % 2 for row in range(60)]}
    write(tmp_path / "data/train.parquet", table)
    write(tmp_path / "data/test.parquet", {"x": [row + 0.5 for row in range(20)], "label": [0, 1] * 10})
    said(capsys, str(tmp_path / "data"), "--count", "39", "--out", str(tmp_path / "ids.parquet"))
    assert min(pq.read_table(tmp_path / "ids.parquet")["sample_id"].to_pylist()) >= 20


def photos(folder: Path, broken: Sequence[int], n: int = 40) -> Path:
    """An ape, a bee, and so on; these are none."""
    for place in range(n):
        image = folder / CLASSES[place % 2] / f"{place:02}.png"
        image.parent.mkdir(parents=True, exist_ok=True)
        Image.frombytes("L", (16, 16), np.random.default_rng(place).bytes(256)).save(image)
        if place in broken:
            image.write_bytes(b"no image" if place % 4 else image.read_bytes()[:150])
    return folder


def test_images_are_not_looked_at(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path, out = photos(tmp_path / "photos", range(40)), tmp_path / "ids.csv"
    text = said(capsys, str(path), "--count", "12", "--out", str(out))
    assert text.startswith("12 samples to be checked, by given labels of 2 classes (ape: 6, bee: 6)")
    assert all(each["sample_id"].startswith(each["given_label"]) for each in rows_in(out))


def test_where_broken_images_are_skipped_the_next_take_their_place(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    broken = [*range(0, 20), 21, 23]  # 10 of 20 apes, 12 of 20 bees
    path, out = photos(tmp_path / "photos", broken), tmp_path / "ids.csv"
    text = said(capsys, str(path), "--count", "12", "--out", str(out), "--skip-broken")
    rows = rows_in(out)
    assert Counter(each["given_label"] for each in rows) == {"ape": 6, "bee": 6}
    assert not {int(each["sample_id"][4:6]) for each in rows} & set(broken)
    left = re.match(r"left out (\d+) images that can't be decoded \(skip_broken\): (.*), \.\.\.\n12 samples", text)
    assert left is not None
    assert 5 < int(left[1]) <= len(broken)
    assert all(int(Path(each).stem) in broken for each in left[2].split(", "))
    filled_in(out, {})
    splits = prepare(DataConfig(data=str(path), skip_broken=True, meta_ids=str(out)), 0)
    assert len(splits.meta) == 12
    (tmp_path / "other").mkdir()
    same = photos(tmp_path / "other/photos", [])
    for options in ((), ("--skip-broken",)):
        said(capsys, str(same), "--count", "12", "--out", str(tmp_path / f"whole{len(options)}.csv"), *options)
    assert rows_in(tmp_path / "whole0.csv") == rows_in(tmp_path / "whole1.csv"), "the draw is the same"


def test_too_few_whole_images(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path, out = photos(tmp_path / "photos", range(35)), str(tmp_path / "ids.csv")
    assert refused(capsys, str(path), "--count", "12", "--out", out, "--skip-broken").endswith(
        "has, without broken images, 5 different samples, and some must be left to train on; ask for 1 to 4"
    )
    path = photos(tmp_path / "none", range(40))
    assert refused(capsys, str(path), "--count", "12", "--out", out, "--skip-broken").startswith("none of the images")


def test_images_that_are_listed_without_ids_have_their_paths(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    photos(tmp_path / "photos", [])
    listed = [f"photos/{CLASSES[place % 2]}/{place:02}.png" for place in range(40)]
    lines = ["image,label", *(f"{path},{path.split('/')[1]}" for path in listed)]
    (tmp_path / "list.csv").write_text("\n".join(lines))
    out = tmp_path / "ids.csv"
    options = [str(tmp_path / "list.csv"), "--image-column", "image"]
    said(capsys, *options, "--count", "12", "--out", str(out))
    rows = rows_in(out)
    assert [each["path"] for each in rows] == [listed[int(each["sample_id"])] for each in rows]
    said(capsys, *options, "--id-column", "image", "--count", "12", "--out", str(tmp_path / "named.csv"))
    assert list(rows_in(tmp_path / "named.csv")[0]) == ["sample_id", "given_label", "checked_label"]


def hundred(path: Path, *settings: str) -> Path:
    """All are given as apes; the run takes 40 of them for bees, and is the surer of it the higher the number."""
    rows = [row(sample, epoch, 0, int(sample >= 60), (50 - sample) / 10) for sample in range(100) for epoch in range(4)]
    run = run_of(path, rows)
    with open(run / "config.toml", "a", encoding="utf-8") as file:
        file.write("".join(f"{line}\n" for line in settings))
    return run


def test_of_a_run_suggested_classes_are_in_balance_and_scores_as_in_the_data(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run, out = hundred(tmp_path / "run"), tmp_path / "ids.csv"
    for seed in range(5):
        out = tmp_path / f"{seed}.csv"
        text = said(capsys, str(run), "--count", "20", "--out", str(out), "--seed", str(seed))
        rows = rows_in(out)
        assert list(rows[0]) == ["sample_id", "given_label", "checked_label", "suggested_label", "score"]
        assert Counter(each["suggested_label"] for each in rows) == {"ape": 10, "bee": 10}
        assert {each["given_label"] for each in rows} == {"ape"}
        ids = [int(each["sample_id"]) for each in rows]
        assert [sample // 6 for sample in ids[:10]] == list(range(10))  # one of each tenth of the 60
        assert [(sample - 60) // 4 for sample in ids[10:]] == list(range(10))
        scores = [float(each["score"]) for each in rows]
        assert scores == sorted(scores)
        assert scores[0] < 0.01 < 0.99 < scores[-1]
    assert "the run's data came from Python: take these samples out of them, and give them as meta" in text


def test_the_way_back_has_the_runs_settings_of_data_student_and_length(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = ("data = 'a b.parquet'", "label_column = 'kind'", "ignore_columns = ['x', 'y']", "download = true",
             "feature_columns = []", "meta_size = 0", "meta_from = 'pseudo-clean'", "student = 'cnn'",
             "batch_size = 64", "run_name = 'one'", "seed = 3")  # fmt: skip
    run, out = hundred(tmp_path / "run", *given), tmp_path / "ids.csv"
    line = said(capsys, str(run), "--count", "20", "--out", str(out)).splitlines()[-1]
    assert shlex.split(line) == [
        "ray-mentor", "train", "--data", "a b.parquet", "--download", "--label-column", "kind", "--ignore-columns", "x",
        "y", "--student", "cnn", "--epochs", "4", "--batch-size", "64", "--seed", "3", "--meta-ids", str(out),
    ]  # fmt: skip


def test_samples_that_were_checked_before_are_not_forgotten(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run, out = hundred(tmp_path / "run", "data = 'digits'", "meta_ids = 'old.csv'"), tmp_path / "ids.csv"
    lines = said(capsys, str(run), "--count", "20", "--out", str(out)).splitlines()
    assert lines[-2:] == [
        f"  ray-mentor train --data digits --epochs 4 --meta-ids {out}",
        "(the run's own trusted samples are in old.csv: add their rows, to go on with them, too)",
    ]


def test_a_run_without_predictions_is_drawn_of_by_given_labels(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [row(sample, epoch, sample % 2, 0, 0.0) for sample in range(40) for epoch in range(4)]
    run = run_of(tmp_path / "run", rows, older=True)
    said(capsys, str(run), "--count", "12", "--out", str(tmp_path / "ids.csv"))
    assert Counter(each["given_label"] for each in rows_in(tmp_path / "ids.csv")) == {"ape": 6, "bee": 6}


def test_what_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path, run, out = data(tmp_path / "data.parquet", 60), hundred(tmp_path / "run"), str(tmp_path / "ids.csv")
    options = ("--label-column", "kind", "--ignore-columns", "photo")
    assert refused(capsys, str(path), "--count", "60", "--out", out, *options) == (
        f"count is 60, but the training split of {path} has 60 different samples, and some must be left to train on; "
        "ask for 1 to 59"
    )
    assert "count is 100, but the run was trained on 100 different" in refused(
        capsys, str(run), "--count", "100", "--out", out
    )
    assert "count is 0, but " in refused(capsys, str(run), "--count", "0", "--out", out)
    assert refused(capsys, str(run), "--out", str(tmp_path / "ids.txt")) == (
        f"out is '{tmp_path / 'ids.txt'}', but --meta-ids reads it as a table; give a name that ends in .csv"
    )
    assert refused(capsys, str(run), "--out", str(path)) == (
        f"'{path}' is there already; give another name, or remove it first"
    )
    assert refused(capsys, str(run), "--out", out, "--label-column", "kind") == (
        f"{run} is a run, which has no options of data; leave --label-column out"
    )
    assert re.match("unknown data 'nowhere'", refused(capsys, "nowhere", "--out", out))
    assert refused(capsys, str(run), "--out", out, "--seed", "-1") == "seed is -1, but it must be at least 0"
    assert not (tmp_path / "ids.csv").exists()
