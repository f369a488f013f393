"""What happened to a sweep's trials: written as it came, read as it was written, refused where it can't have been."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ray import tune

from ray_mentor.errors import UserError
from ray_mentor.on_ray.tune.record import FILE, Record, drawn
from ray_mentor.run.claim import taken_up
from ray_mentor.run.directory import RunDirectory

DOMAINS = {
    "update_interval": tune.choice([np.int64(1), 5, 10]),
    "mentor_hidden": tune.choice([(8,), (16, 16)]),
    "entropy": tune.quniform(0.1, 0.5, 0.05),
    "meta_batch_size": tune.randint(10, 20),
    "anchor": 0.5,
}
SAMPLE = {
    "update_interval": np.int64(1),
    "mentor_hidden": (16, 16),
    "entropy": 0.15000000000000002,
    "meta_batch_size": 12,
    "anchor": 0.5,
}


def record_in(folder: Path) -> Record:
    return Record(RunDirectory(str(folder)), DOMAINS)


def epoch(trial: str, epoch: int, accuracy: float = 0.5, **changes: Any) -> dict[str, Any]:
    figures = {"accuracy": accuracy, "objective": accuracy, "seconds": 1.0, "equal_share": 0.0}
    return {"kind": "trial", "trial": trial, "epoch": epoch, **figures, "settings": SAMPLE, **changes}


def ended(trial: str, state: str, **changes: Any) -> dict[str, Any]:
    return {"kind": "ended", "trial": trial, "state": state, "objective": 0.5, "error": None, **changes}


def test_an_interrupted_sweep_knows_what_was_told_before(tmp_path: Path) -> None:
    first = record_in(tmp_path)
    assert not (tmp_path / FILE).exists(), "a sweep that is refused leaves nothing"
    first.begin("a1", SAMPLE)
    first.begin("b2", {**SAMPLE, "entropy": 0.2})
    for row in (epoch("a1", 1, 0.1), epoch("b2", 1, 0.2), ended("b2", "failed", error="a\nwhy", objective=None)):
        first.add(row)
    again = record_in(tmp_path)
    assert again.rows == first.rows
    assert list(again.trials) == ["a1", "b2"]
    assert again.trials["a1"].sample == SAMPLE
    assert type(again.trials["a1"].sample["mentor_hidden"]) is tuple
    assert (again.trials["b2"].state, again.trials["b2"].error) == ("failed", "a\nwhy")
    assert again.trials["a1"].state is None
    size = (tmp_path / FILE).stat().st_size
    again.add(epoch("a1", 2, 0.3))
    again.add(epoch("a1", 1, 0.15))  # a restart told it again
    again.add(epoch("b2", 1, float("nan")))  # it goes on
    assert (tmp_path / FILE).read_bytes()[:size] == b"".join(
        f"{json.dumps(row, default=int)}\n".encode() for row in first.rows
    )
    last = record_in(tmp_path)
    assert {number: row["accuracy"] for number, row in last.trials["a1"].rows.items()} == {1: 0.15, 2: 0.3}
    assert last.trials["b2"].state is None
    assert last.trials["b2"].error is None


BEGUN = {"kind": "begun", "trial": "a1", "settings": SAMPLE}


@pytest.mark.parametrize(
    ("rows", "why"),
    [
        (["[" * 100_000], "RecursionError"),
        ([[1, 2]], "TypeError"),
        ([{"kind": "begun"}], "KeyError: 'trial'"),
        ([{**BEGUN, "kind": "other"}], "trial a1 was never begun"),
        ([BEGUN, {**BEGUN, "kind": "other"}], "KeyError: 'other'"),
        ([{**BEGUN, "trial": "../../x"}], "'../../x' is no trial's name"),
        ([{**BEGUN, "trial": 5}], "5 is no trial's name"),
        ([BEGUN, BEGUN], "trial a1 was begun before"),
        ([epoch("a1", 1)], "trial a1 was never begun"),
        ([{**BEGUN, "settings": {"entropy": 0.2}}], "settings are {'entropy': 0.2}, but must be of update_interval, "),
        ([{**BEGUN, "settings": "x"}], "settings are 'x'"),
        ([{**BEGUN, "settings": {**SAMPLE, "entropy": 0.9}}], r"entropy is 0.9, but was drawn from \(0.1, 0.5\)"),
        ([{**BEGUN, "settings": {**SAMPLE, "entropy": "x"}}], "entropy is 'x'"),
        ([{**BEGUN, "settings": {**SAMPLE, "entropy": float("nan")}}], "entropy is nan"),
        ([{**BEGUN, "settings": {**SAMPLE, "update_interval": 7}}], "update_interval is 7, but was drawn from "),
        ([{**BEGUN, "settings": {**SAMPLE, "anchor": 1}}], r"anchor is 1, but was drawn from \[0.5\]"),
        ([BEGUN, epoch("a1", 0)], "epoch is 0"),
        ([BEGUN, epoch("a1", True)], "epoch is True"),
        ([BEGUN, epoch("a1", 1, "x")], "accuracy is 'x'"),
        ([BEGUN, epoch("a1", 1, settings=None)], "settings are None"),
        ([BEGUN, ended("a1", "x")], "state is 'x'"),
        ([BEGUN, ended("a1", "failed", error=7)], "error is 7"),
        ([BEGUN, ended("a1", "failed", objective=[])], r"objective is \[\]"),
    ],
)
def test_what_no_sweep_wrote_is_refused(rows: list[Any], why: str, tmp_path: Path) -> None:
    lines = [row if isinstance(row, str) else json.dumps(row, default=int) for row in rows]
    (tmp_path / FILE).write_text("".join(f"{line}\n" for line in lines))
    said = (
        rf"{FILE}, line {len(rows)}, is not what a sweep of this space wrote \(.*{why}.*\); put back what was there, or"
    )
    with pytest.raises(UserError, match=said):
        record_in(tmp_path)


def test_whatever_a_space_can_draw_is_read_as_it_was_drawn(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    domains = {**DOMAINS, "mentor_learning_rate": tune.lograndint(1, 100), "warm_up": tune.qloguniform(1e-3, 1.0, 5e-4)}
    for _ in range(200):
        sample = {
            name: domain.sample(random_state=random) if hasattr(domain, "sample") else domain
            for name, domain in domains.items()
        }
        read = drawn(json.loads(json.dumps(sample, default=int)), domains)
        assert read == sample
        assert type(read["mentor_hidden"]) is tuple


def test_who_was_thought_dead_adds_nothing_to_what_another_process_tells(tmp_path: Path) -> None:
    first = Record(taken_up(RunDirectory(str(tmp_path))), DOMAINS)
    first.begin("a1", SAMPLE)
    second = Record(taken_up(RunDirectory(str(tmp_path))), DOMAINS)
    second.add(ended("a1", "finished"))
    before = (tmp_path / FILE).read_bytes()
    for late in (lambda: first.begin("b2", SAMPLE), lambda: first.add(epoch("a1", 1))):
        with pytest.raises(UserError, match="another process has taken up the run"):
            late()
    first.close()
    assert (tmp_path / FILE).read_bytes() == before
    assert list(first.trials) == ["a1"]
    assert not first.trials["a1"].rows
