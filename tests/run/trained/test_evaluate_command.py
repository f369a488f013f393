"""``ray-mentor evaluate``: the figures are those that others' code finds, in the terminal, the file and the page."""

from __future__ import annotations

import dataclasses
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from made_runs import made_run
from page_text import figures, words
from sklearn import metrics
from trained_students import CLASSES, FEATURES, NAMES, feature_samples, left_by, named, seeded

from ray_mentor import Student
from ray_mentor.errors import UserError
from ray_mentor.report.run.page import page
from ray_mentor.run.directory import RunDirectory
from ray_mentor.run.trained.evaluation import BINS, Evaluated, Evaluation

LABELS = np.random.default_rng(2).integers(0, 3, 600)


def table(labels: Any, **more: Any) -> pa.Table:
    return pa.table({**{name: FEATURES[:, place] for place, name in enumerate(NAMES)}, "label": labels, **more})


def expected_calibration_error(sure: np.ndarray, right: np.ndarray) -> float:
    """As Guo et al. write it, sample by sample."""
    bins = pd.cut(pd.Series(sure.astype(np.float64)), np.linspace(0, 1, BINS + 1))
    rows = pd.DataFrame({"bin": bins, "sure": sure.astype(np.float64), "right": right})
    parts = rows.groupby("bin", observed=True)
    return float(sum(len(part) / len(rows) * abs(part.right.mean() - part.sure.mean()) for _, part in parts))


def test_the_figures_are_those_of_other_peoples_code(command: Any, run: str) -> None:
    pyarrow.parquet.write_table(table([CLASSES[label] for label in LABELS]), "labelled.parquet")
    code, said = command("evaluate", run, "--data", "labelled.parquet")
    assert code == 0
    probabilities = Student.from_run(run).predict(FEATURES)
    predicted, sure = probabilities.argmax(1), probabilities.max(1)
    found = json.loads(Path(run, "evaluation.json").read_text())
    assert found["confusion"] == metrics.confusion_matrix(LABELS, predicted, labels=[0, 1, 2]).tolist()
    assert found["accuracy"] == pytest.approx(metrics.accuracy_score(LABELS, predicted))
    assert found["balanced_accuracy"] == pytest.approx(metrics.balanced_accuracy_score(LABELS, predicted))
    recall = metrics.recall_score(LABELS, predicted, average=None)
    precision = metrics.precision_score(LABELS, predicted, average=None, zero_division=np.nan)
    assert [each["accuracy"] for each in found["classes"]] == pytest.approx(recall)
    assert [each["precision"] or np.nan for each in found["classes"]] == pytest.approx(precision, nan_ok=True)
    assert found["calibration_error"] == pytest.approx(expected_calibration_error(sure, predicted == LABELS), abs=1e-6)
    assert sum(each["samples"] for each in found["calibration"]) == 600
    assert (found["data"], found["student"], found["epoch"]) == ("labelled.parquet", "model.safetensors", 4)
    assert f"{found['accuracy']:.4f} ({found['interval'][0]:.3f} to {found['interval'][1]:.3f})" in said
    assert re.search(rf"calibration error \(ECE, 15 bins\) +{found['calibration_error']:.4f}", said)
    assert said.endswith(f"written: {run}/evaluation.json\n"), "a run without a page gets none"


@pytest.mark.parametrize("own", ["data", "meta_data"])
def test_the_runs_own_data_are_told(command: Any, run: str, own: str) -> None:
    pyarrow.parquet.write_table(table([CLASSES[label] for label in LABELS]), "labelled.parquet")
    pyarrow.parquet.write_table(table([CLASSES[label] for label in LABELS]), "others.parquet")
    config = Path(run, "config.toml")
    config.write_text(f"{config.read_text()}{own} = 'labelled.parquet'\n")
    warning = f"the run was trained on samples of ./labelled.parquet, its own --{own.replace('_', '-')}"
    _, said = command("evaluate", run, "--data", "./labelled.parquet")
    assert f"warning: {warning}: what is measured on them flatters\n" in said
    assert re.search("trained on +some of these samples, which flatters", said)
    assert json.loads(Path(run, "evaluation.json").read_text())["warning"].startswith(warning)
    _, said = command("evaluate", run, "--data", "others.parquet")
    assert "trained on" not in said
    assert json.loads(Path(run, "evaluation.json").read_text())["warning"] is None


@settings(max_examples=60, deadline=None, derandomize=True)
@given(
    rows=st.lists(
        st.tuples(st.integers(0, 2), st.integers(0, 2), st.sampled_from([60, *(k for k in range(1, 60) if k % 4)])),
        min_size=1,
        max_size=40,
    )
)
def test_calibration_of_any_predictions(rows: list[tuple[int, int, int]]) -> None:
    """Probabilities k/60: in each of the 15 bins, and 1 itself; an edge's float32 may lie on either side of it."""
    labels, said, sixtieths = map(np.array, zip(*rows, strict=True))
    sure = (sixtieths / 60).astype(np.float32)
    counts = Evaluation(CLASSES)
    for i in range(0, len(rows), 7):
        part = np.arange(i, min(i + 7, len(rows)))
        counts.take(labels, pa.table({"row": part, "class": said[part], "probability": sure[part]}))
    found = counts.figures()
    by_bin = np.clip(-(-sixtieths // 4) - 1, 0, BINS - 1)
    gaps = [abs((labels == said)[by_bin == m].sum() - sure[by_bin == m].astype(float).sum()) for m in range(BINS)]
    assert found["calibration_error"] == pytest.approx(sum(gaps) / len(rows), abs=1e-6)
    assert sum(each["samples"] for each in found["calibration"]) == len(rows)


@pytest.mark.parametrize(
    ("labels", "named_by"),
    [
        (LABELS, b"ape,bee,cow"),
        (LABELS, None),
        (2 - LABELS, b"cow,bee,ape"),
    ],
)
def test_numbers_are_labels_by_what_the_file_calls_them(
    command: Any, run: str, labels: np.ndarray, named_by: bytes | None
) -> None:
    stored = table(labels)
    if named_by is not None:
        stored = stored.replace_schema_metadata({b"class_names": named_by})
    pyarrow.parquet.write_table(stored, "labelled.parquet")
    assert command("evaluate", run, "--data", "labelled.parquet")[0] == 0
    said = Student.from_run(run).predict(FEATURES).argmax(1)
    found = json.loads(Path(run, "evaluation.json").read_text())
    assert found["accuracy"] == pytest.approx((said == LABELS).mean())


@pytest.mark.parametrize(
    ("classes", "named_by", "stored"),
    [
        (("1", "0", "2"), b"1,0,2", (0, 1, 2)),
        (("1", "2", "3"), b"1,2,3", (0, 1, 2)),
        (("1", "2", "3"), b"3,2,1", (2, 1, 0)),
        (("-1", "10", "2"), None, (-1, 10, 2)),
        (("01", "02", "03"), None, (1, 2, 3)),
        (("ape", "bee", "cow"), None, (0, 1, 2)),
    ],
)
def test_classes_that_are_called_by_numbers(
    command: Any, tmp_path: Path, classes: tuple[str, ...], named_by: bytes | None, stored: tuple[int, ...]
) -> None:
    """What a file itself calls its numbers holds; without that, 2 is the class "2", wherever it stands."""
    samples = dataclasses.replace(feature_samples(FEATURES), classes=classes)
    build = named(samples, "mlp")
    run = left_by(tmp_path / "run", samples, build, seeded(build), names=NAMES)
    labelled = table(np.array(stored)[LABELS])
    if named_by is not None:
        labelled = labelled.replace_schema_metadata({b"class_names": named_by})
    pyarrow.parquet.write_table(labelled, "labelled.parquet")
    assert command("evaluate", run, "--data", "labelled.parquet")[0] == 0
    said = Student.from_run(run).predict(FEATURES).argmax(1)
    found = json.loads(Path(run, "evaluation.json").read_text())
    assert found["confusion"] == metrics.confusion_matrix(LABELS, said, labels=[0, 1, 2]).tolist()


def test_numbers_are_no_places_where_a_class_is_called_by_one(command: Any, tmp_path: Path) -> None:
    samples = dataclasses.replace(feature_samples(FEATURES), classes=("5", "ape", "bee"))
    build = named(samples, "mlp")
    run = left_by(tmp_path / "run", samples, build, seeded(build), names=NAMES)
    pyarrow.parquet.write_table(table([5] * 599 + [0]), "labelled.parquet")
    code, answer = command("evaluate", run, "--data", "labelled.parquet")
    assert code == 2
    assert "has labels that the student does not know: '0'; it was trained on '5', 'ape', 'bee'" in answer


@pytest.mark.parametrize(
    ("labels", "said"),
    [
        (
            ["ape"] * 599 + ["dog"],
            "has labels that the student does not know: 'dog'; it was trained on 'ape', 'bee', 'c",
        ),
        (
            [0] * 599 + [3],
            "has labels that the student does not know: '3'; it was trained on 'ape', 'bee', 'cow'; leave",
        ),
        ([0.5] * 600, "column 'label' of labelled.parquet is double, but labels must be integers or strings"),
        ([None] + ["ape"] * 599, "column 'label' is null in row 0 of labelled.parquet"),
    ],
)
def test_labels_that_the_student_does_not_know(command: Any, run: str, labels: list[Any], said: str) -> None:
    pyarrow.parquet.write_table(table(pa.array(labels)), "labelled.parquet")
    code, answer = command("evaluate", run, "--data", "labelled.parquet")
    assert code == 2
    assert said in answer
    assert not Path(run, "evaluation.json").exists()


def test_no_labels_at_all(command: Any, run: str) -> None:
    pyarrow.parquet.write_table(table(LABELS).drop_columns(["label"]), "bare.parquet")
    code, answer = command("evaluate", run, "--data", "bare.parquet")
    assert code == 2
    assert "bare.parquet has no column 'label'; its columns are a, b, c, d; name the one of given labels" in answer


def test_the_runs_page_shows_it(command: Any, tmp_path: Path) -> None:
    samples = feature_samples(FEATURES)
    build = named(samples, "mlp")
    made_run(tmp_path / "run")
    config = (tmp_path / "run/config.toml").read_text()
    run = left_by(tmp_path / "run", samples, build, seeded(build), names=NAMES)
    (tmp_path / "run/config.toml").write_text(config)
    assert "Evaluation" not in words(page(RunDirectory(run)))
    Path(run, "report.html").write_text("the old page")
    pyarrow.parquet.write_table(table([CLASSES[label] for label in LABELS]), "labelled.parquet")
    code, said = command("evaluate", run, "--data", "labelled.parquet")
    assert code == 0
    assert said.endswith(f"and on the run's page: {run}/report.html\n")
    whole = Path(run, "report.html").read_text()
    found = json.loads(Path(run, "evaluation.json").read_text())
    assert f"{found['accuracy']:.4f}" in words(whole)
    drawn = figures(whole)
    assert drawn["confusion"]["data"][0]["z"] == [[count or None for count in row] for row in found["confusion"]]
    bins = [each for each in found["calibration"] if each["samples"]]
    assert drawn["reliability"]["data"][0]["y"] == [each["accuracy"] for each in bins]


WORDS: Any = st.sampled_from([None, "", "x", [], {}, [1], -1, 1e300, True, [[[]]], "</script>"])


@settings(max_examples=80, deadline=None, derandomize=True)
@given(place=st.integers(0, 70), value=WORDS)
def test_a_damaged_evaluation_is_named(tmp_path_factory: pytest.TempPathFactory, place: int, value: Any) -> None:
    counts = Evaluation(CLASSES)
    counts.take(np.array([0, 1]), pa.table({"row": [0, 1], "class": [0, 2], "probability": [0.5, 0.9]}))
    about = {"data": "x", "student": "model.safetensors", "epoch": 1, "warning": "told", "left_out": 1, "trained_on": 1}
    table = {**about, "others": counts.overall(), **counts.figures()}
    holders = [(table, name) for name in table]
    holders += [(table["classes"][1], name) for name in table["classes"][1]]
    holders += [(table["calibration"][3], name) for name in table["calibration"][3]]
    holder, name = holders[place % len(holders)]
    holder[name] = value
    directory = RunDirectory(str(tmp_path_factory.mktemp("run")))
    directory.write("evaluation.json", json.dumps(table).encode())
    from ray_mentor.report.run.evaluation import evaluation_sections  # noqa: PLC0415

    try:
        found = Evaluated.read(directory)
    except UserError as error:
        assert "evaluation.json cannot be read (" in str(error)  # noqa: PT017
    else:
        whole, _ = evaluation_sections(found, "")
        assert "</script>" not in whole
