"""How many labels an audit finds wrong, where the run has kept what its student says of trusted samples."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hand_made_runs import row, run_of
from numpy.typing import NDArray

from ray_mentor.report.terminal import look_at_next, unsure
from ray_mentor.run.audit.audit import Audit
from ray_mentor.run.audit.by_trusted import MOST_CLASSES, Found, trusted_counts
from ray_mentor.run.audit.noise import estimated, most_suspicious
from ray_mentor.run.audit.sums import Span
from ray_mentor.run.directory import RunDirectory
from ray_mentor.run.findings.closing import closed
from ray_mentor.run.meta_set.said import NOTHING_SAID, SCHEMA, write_said

EPOCHS, SAMPLES, TRUSTED, RIGHT = 12, 1500, 100, 0.7
SOON = range(2, 6)
"""Epochs that count: 2 are burn-in, as 15 % of 12, and as many follow, and two."""


def weak_run(path: Path, rate: float, trusted: int = TRUSTED, method: str = "mentornet") -> tuple[Path, Any]:
    """A student that is right on 70 % of the samples of each of three classes, whatever they are given.

    It says the same of each sample soon after burn-in; before, it says the first class of all. Later it knows all
    trusted samples by heart, and no more of the others, which is what a mentor leaves of hard ones; or, where all weigh
    the same, each given label.
    """
    draw = np.random.default_rng(0)
    true, wrong = draw.integers(0, 3, SAMPLES), draw.random(SAMPLES) < rate
    given = np.where(wrong, (true + 1) % 3, true)
    said = np.where(draw.random(SAMPLES) < RIGHT, true, (true + draw.integers(1, 3, SAMPLES)) % 3)
    rows = []
    learnt = said
    for epoch in range(EPOCHS):
        if epoch < SOON.start:
            said = np.zeros_like(learnt)
        else:
            said = given if epoch >= SOON.stop and method == "uniform" else learnt
        margin = np.where(said == given, 1, -1) * draw.uniform(0.5, 3, SAMPLES)
        weight = np.ones(SAMPLES) if method == "uniform" else draw.random(SAMPLES)
        columns = zip(given.tolist(), said.tolist(), margin, weight, true.tolist(), strict=True)
        rows += [row(i, epoch, g, p, m, scored_weight=w, true_label=t) for i, (g, p, m, w, t) in enumerate(columns)]
    run_of(path, rows)
    (path / "config.toml").write_text(f'epochs = {EPOCHS}\nburn_in = 0.0\nmethod = "{method}"\n')
    soon = [[0.7, 0.15, 0.15], [0.15, 0.7, 0.15], [0.15, 0.15, 0.7]] * np.array(trusted)
    before, late = [[trusted, 0, 0]] * 3, np.eye(3) * trusted
    cells = [
        [
            epoch,
            label,
            predicted,
            round((before if epoch < SOON.start else soon if epoch in SOON else late)[label][predicted]),
        ]
        for epoch in range(EPOCHS)
        for label in range(3)
        for predicted in range(3)
    ]
    table = np.array(cells)
    write_said(RunDirectory(str(path)), _tensor(table[table[:, 3] > 0]))
    return path, wrong


def _tensor(cells: NDArray[np.int64]) -> Any:
    return NOTHING_SAID.new_tensor(cells)


@pytest.mark.parametrize("method", ["mentornet", "uniform"])
@pytest.mark.parametrize("rate", [0.0, 0.1, 0.4])
def test_what_a_weak_student_says_otherwise_is_not_the_labels_error(tmp_path: Path, rate: float, method: str) -> None:
    """Nor are trusted samples that it knows by heart later, or wrong labels."""
    path, wrong = weak_run(tmp_path, rate, method=method)
    audit = Audit.from_run(path)
    found = audit.rate
    assert found is not None
    assert audit.matrix is not None
    assert found.rate == pytest.approx(wrong.mean(), abs=0.03)
    assert found.low <= wrong.mean() <= found.high
    assert found.trusted == 3 * TRUSTED
    told = ["this run has no mentor: a st"] if method == "uniform" else []
    told += ["by the interval there may be"] if found.count and not found.low else []
    assert [note[:28] for note in audit.notes] == told
    if method == "uniform":
        return
    (path / "trusted.parquet").unlink()
    counted = Audit.from_run(path)
    assert counted.rate is not None
    assert counted.rate.rate > wrong.mean() + 0.1, "as it would be without them"
    assert "no trusted samples in training say how often the student errs (it takes 5 of each class" in counted.notes[0]
    assert "there are none of 'ape'" in counted.notes[0]


def test_all_that_shows_a_rate_shows_this_one(tmp_path: Path) -> None:
    path, _ = weak_run(tmp_path, 0.4)
    result, audit = closed(RunDirectory(str(path)), {"trusted_accuracy": 0.7}, EPOCHS)
    found, pairs, classes = audit.rate, audit.confusions, audit.by_class
    assert found is not None
    assert audit.matrix is not None
    assert pairs is not None
    assert classes is not None
    assert found.rate == found.count / found.samples
    assert audit.matrix.sum() - audit.matrix.trace() == found.count
    given = audit.table["given_label"].cast(pa.string()).to_pylist()
    assert audit.matrix.sum(axis=0).tolist() == [given.count(name) for name in audit.classes]
    assert pa.compute.sum(pairs["count"]).as_py() == pa.compute.sum(classes["wrong"]).as_py() == found.count
    assert len(audit.issues) == found.count
    assert len(audit.clean()) == found.samples - found.count
    assert result["wrong_labels"] == found.rate
    assert result["wrong_labels_interval"] == [found.low, found.high]
    assert result["wrong_labels_by_trusted"] == found.trusted == 3 * TRUSTED
    assert str(found) == (
        f"{found.rate:.1%} of the labels look wrong ({found.low:.1%} to {found.high:.1%}, by the student's errors on "
        f"300 trusted samples): {found.count} of 1,500"
    )
    assert f"{found.rate:.1%} of those trained on ({found.low:.1%} to {found.high:.1%})" in look_at_next(result, "run")
    assert unsure(result) == "", "the student's own mistakes are not among them"
    assert unsure({**result, "wrong_labels_by_trusted": 0}).startswith("; the student is wrong on 30% of held-out")


@pytest.mark.parametrize("trusted", [3, 0])
def test_few_trusted_samples(tmp_path: Path, trusted: int) -> None:
    """It is as it would be without any."""
    path, _ = weak_run(tmp_path, 0.4, trusted)
    audit = Audit.from_run(path)
    (path / "trusted.parquet").unlink(missing_ok=True)
    without = Audit.from_run(path)
    assert audit.rate == without.rate
    assert f"there are {trusted - 1 if trusted else 'none'} of 'ape'" in audit.notes[0]
    assert "there are none of 'ape'" in without.notes[0]
    assert audit.table.equals(without.table)
    assert audit.rate is not None
    assert audit.rate.trusted == 0


def test_of_very_many_classes_they_are_not_asked(tmp_path: Path) -> None:
    path, _ = weak_run(tmp_path, 0.4)
    (path / "classes.json").unlink()
    run_of(path, [row(0, 0, MOST_CLASSES, 0, 1.0)], classes=None)  # in the first file's place
    (path / "config.toml").write_text('epochs = 12\nmethod = "mentornet"\n')
    audit = Audit.from_run(path)
    assert audit.rate is not None
    assert audit.rate.trusted == 0


def test_trusted_samples_are_counted_over_some_epochs() -> None:
    rows = [(0, 0, 1, 7), (1, 0, 0, 2), (1, 0, 1, 2), (2, 0, 0, 4), (2, 5, 0, 9), (3, 0, 0, 8)]
    table = pa.table([list(column) for column in zip(*rows, strict=True)], schema=SCHEMA)
    assert trusted_counts(table, 2, range(1, 3)).tolist() == [[3, 1], [0, 0]]
    assert trusted_counts(SCHEMA.empty_table(), 2, range(1, 3)).tolist() == [[0, 0], [0, 0]]


@pytest.mark.parametrize(
    ("burn_in", "whole", "expected"),
    [
        (5, 60, range(5, 12)),
        (5, 9, range(5, 9)),
        (5, 5, range(4, 5)),
        (5, 1, range(1)),
        (0, 9, range(2)),
        (54, 60, range(10, 22)),
    ],
)
def test_epochs_soon_after_burn_in(burn_in: int, whole: int, expected: range) -> None:
    assert Span((), np.zeros(0, np.int64), whole, 2).soon_after(burn_in) == expected


def test_whole_samples_by_hand() -> None:
    """Of 10 given ape 2.6 are wrong, of 5 given bee 0.7: 3.3 in all, of which the one with the larger rest has more."""
    joint = np.array([[7.4, 1.3, 1.3], [0.5, 4.3, 0.2], [0, 0, 0]]) / 15
    given = np.repeat([0, 1], [10, 5])
    found, matrix = estimated(Found(joint, 3.3 / 15, 0.1, 0.21, 30), given, 3)
    assert matrix.tolist() == [[8, 1, 0], [1, 4, 0], [1, 0, 0]], "a row a true class"
    assert dataclasses.astuple(found) == (3 / 15, 0.1, 0.21, 3, 15, 30)


def test_of_each_given_class_as_many_as_are_wrong() -> None:
    """Those with the highest score that suggest another label; where there are fewer, these."""
    matrix = np.array([[3, 1, 0], [1, 1, 0], [0, 1, 0]])
    given = np.array([0, 0, 0, 0, 1, 1, 1])
    suggested = np.array([0, 1, 2, 1, 1, 0, -1])
    score = np.float32([0.9, 0.2, 0.3, 0.1, 0.8, 0.1, 0.7])
    chosen = most_suspicious(score, given, suggested, matrix)
    assert np.flatnonzero(chosen).tolist() == [1, 2, 5], "as many in all: the highest of what is left"
