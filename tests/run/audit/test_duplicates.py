"""Duplicates: exact ones, near ones by what a student makes of them, and those whose labels disagree."""

from __future__ import annotations

import dataclasses
import io
import re
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import torch
from hand_made_runs import row, run_of
from rich.console import Console
from torch import nn
from torch.utils.data import TensorDataset

from ray_mentor import Audit
from ray_mentor.config import DataConfig
from ray_mentor.data import FeatureInputs, Samples
from ray_mentor.data.splits.splits import prepare
from ray_mentor.errors import UserError
from ray_mentor.report.audited import audit_run, show_duplicates
from ray_mentor.run.audit import duplicates as module
from ray_mentor.run.audit.duplicates import _near, duplicates, duplicates_of
from ray_mentor.run.directory import RunDirectory
from ray_mentor.students import MLP, make_student


def samples(n: int = 60) -> Samples:
    """All different, but: 3 and 8 are one with two labels, 10, 20 and 21 one with one; 40 is nearly 5, 50 nearly 6."""
    draw = np.random.default_rng(0)
    values = draw.standard_normal((n, 8)).astype(np.float32)
    labels = np.arange(n) % 3
    values[8] = values[3]
    values[20] = values[21] = values[10]
    labels[[20, 21]] = labels[10]
    values[40] = values[5] + 1e-4
    labels[40] = (labels[5] + 1) % 3
    values[50] = values[6] + 1e-4
    labels[50] = labels[6]
    return Samples(FeatureInputs(values), 100 + np.arange(n), labels, None, ("ape", "bee", "cow"))


def student() -> nn.Module:
    torch.manual_seed(0)
    return MLP(8, 3, (32,))


def sets(found: pa.Table) -> list[tuple[str, list[int], bool]]:
    frame = found.to_pandas()
    return [
        (rows["kind"].iloc[0], [i - 100 for i in rows["sample_id"]], bool(rows["labels_differ"].iloc[0]))
        for _, rows in frame.groupby("set")
    ]


def test_exact_ones_are_those_of_the_same_content() -> None:
    assert sets(duplicates(samples())) == [("exact", [3, 8], True), ("exact", [10, 20, 21], False)]


def test_near_ones_too_and_those_whose_labels_disagree_come_first() -> None:
    found = Audit.duplicates(samples(), student())
    assert sets(found) == [
        ("exact", [3, 8], True), ("near", [5, 40], True), ("exact", [10, 20, 21], False), ("near", [6, 50], False),
    ]  # fmt: skip
    assert found.filter(pa.compute.equal(found["set"], 0))["given_label"].to_pylist() == ["ape", "cow"]  # type: ignore[attr-defined]


def test_of_a_data_set_they_are_looked_for_likewise() -> None:
    of = samples()
    inputs, labels = torch.from_numpy(np.array(of.inputs.values)), torch.from_numpy(of.labels)  # type: ignore[attr-defined]
    found = Audit.duplicates(TensorDataset(inputs, labels), student())
    assert [(kind, [100 + i for i in ids], differ) for kind, ids, differ in sets(found)] == sets(
        Audit.duplicates(of, student())
    )


def test_a_chain_of_near_ones_is_one_set() -> None:
    made = samples()
    values = np.array(made.inputs.values)  # type: ignore[attr-defined]
    for i in range(1, 6):
        values[29 + i] = values[29] + i * 1e-4
    chain = dataclasses.replace(made, inputs=FeatureInputs(values))
    assert ("near", [29, 30, 31, 32, 33, 34], True) in sets(duplicates(chain, student()))


def test_none_where_all_differ() -> None:
    draw = np.random.default_rng(1)
    inputs = FeatureInputs(draw.standard_normal((40, 8)).astype(np.float32))
    other = Samples(inputs, np.arange(40), np.zeros(40, np.int64), None, ("a", "b"))
    assert len(duplicates(other, student())) == 0
    assert len(duplicates(other.select(np.arange(1)), student())) == 0


class Bare(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(1))

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        return self.scale * inputs[:, :3]


def test_a_student_without_a_linear_layer_is_refused() -> None:
    with pytest.raises(UserError, match="near duplicates need a student whose last linear layer is fed one row"):
        duplicates(samples(), Bare())


def test_the_student_is_left_as_it_was() -> None:
    trained = student()
    trained.train()
    duplicates(samples(), trained)
    assert trained.training
    assert not any(layer._forward_pre_hooks for layer in trained.modules())


# Of a run


@pytest.fixture
def run(tmp_path: Path) -> RunDirectory:
    """On digits, as they are read again."""
    train = prepare(DataConfig(), 0).train
    rows = [row(int(i), 0, int(label), int(label), 1.0) for i, label in zip(train.ids, train.labels, strict=True)]
    path = run_of(tmp_path / "run", rows, classes=train.classes)
    (path / "student").mkdir()
    torch.save(make_student("mlp", train.inputs.shape, 10).state_dict(), path / "student/state_dict.pt")
    return RunDirectory(str(path))


def test_the_data_are_read_again(run: RunDirectory, monkeypatch: pytest.MonkeyPatch) -> None:
    audited = Audit.from_run(run).table
    found, notes = duplicates_of(run, audited)
    assert notes == ()
    assert set(found["kind"].to_pylist()) <= {"near"}
    monkeypatch.setattr(module, "MOST", 10)
    assert duplicates_of(run, audited)[1] == ("near duplicates are looked for among 10 samples at most",)
    run.remove("student/state_dict.pt")
    monkeypatch.setattr(module, "MOST", 10**6)
    assert duplicates_of(run, audited)[1] == ("near duplicates are looked for with a student of --student alone",)


def test_other_data_than_the_runs_are_refused(run: RunDirectory) -> None:
    audited = Audit.from_run(run).table
    others = audited.set_column(0, "sample_id", pa.array(np.arange(len(audited)) + 10**6))
    labels = audited.set_column(1, "given_label", audited["given_label"].take(pa.array(np.arange(len(audited))[::-1])))
    for wrong in (others, labels, audited.set_column(0, "sample_id", audited["sample_id"].cast(pa.string()))):
        with pytest.raises(UserError, match=r"are not those that the run was trained on; put them back, or, where"):
            duplicates_of(run, wrong)


def test_the_command_writes_and_shows_them(run: RunDirectory, capsys: pytest.CaptureFixture[str]) -> None:
    audit_run(run.path, 3, weights=None, clean=None, relabelled=None, duplicates=True)
    said = capsys.readouterr().out
    assert re.search(r"^\d+ sets? of duplicates, the labels of \d+ disagree$", said, re.MULTILINE)
    assert said.endswith(f"written: {run.path}/duplicates.csv\n")
    assert (run.read("duplicates.csv") or b"").startswith(b'"set","kind","sample_id","given_label","labels_differ"\n')


def test_duplicates_on_the_terminal() -> None:
    console = Console(file=io.StringIO())
    show_duplicates(duplicates(samples()), ("a note",), 2, console)
    said, note, *rows = console.file.getvalue().splitlines()  # type: ignore[attr-defined]
    assert (said, note) == ("2 sets of duplicates, the labels of 1 disagree", "a note")
    words = [row.split() for row in rows if row.startswith((" 0 ", " 1 ", "   0", "   1"))]
    assert words[0] == ["0", "exact", "103", "ape", "yes"]
    assert len(words) == 5
    first = Console(file=io.StringIO())
    show_duplicates(duplicates(samples()), (), 1, first)
    ids = [row.split()[2] for row in first.file.getvalue().splitlines() if row.split()[:1] == ["0"]]  # type: ignore[attr-defined]
    assert ids == ["103", "108"], "a set is told whole"


def on_a_circle(*degrees: float) -> np.ndarray:
    angles = np.radians(degrees)
    return np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)


def test_exact_duplicates_are_no_measure_of_what_is_near() -> None:
    """Most samples are there twice, so that the nearest one is at 0: what counts is the nearest of other content."""
    features = on_a_circle(0, 0, 30, 30, 60, 60, 90, 90, 120, 120.5)
    group = _near(features, np.array([0, 0, 1, 1, 2, 2, 3, 3, 4, 5]))
    assert group[8] == group[9]
    assert len(set(group)) == 5


def test_near_ones_are_found_behind_exact_ones() -> None:
    """The nearest of each is its own copy."""
    group = _near(on_a_circle(0, 0, 0.5, 0.5, 30, 60, 90, 120, 150), np.array([0, 0, 1, 1, 2, 3, 4, 5, 6]))
    assert len(set(group[:4])) == 1
    assert len(set(group)) == 6
