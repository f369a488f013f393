"""Runs that learn their learning rate."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from small_runs import assert_same_run, interrupted, trainer_for

from ray_mentor.data import Splits
from ray_mentor.errors import UserError
from ray_mentor.report.terminal import closing_rows
from ray_mentor.run.outcome import Outcome

LEARNS = {"learn": ("lr",), "epochs": 44, "learn_interval": 2}


def fit(splits: Splits, place: Path, name: str, *, breaks: int = 0, **changes: Any) -> Outcome:
    optimizer = {"optimizer": interrupted(breaks)} if breaks else {}
    return trainer_for(splits, place, name, checkpoint_steps=3, **optimizer, **{**LEARNS, **changes}).fit()


@pytest.mark.parametrize("steps", [2, 31, 89, 150])
def test_a_run_stopped_at_any_step_goes_on_as_if_it_had_never_stopped(
    steps: int, small_splits: Splits, tmp_path: Path
) -> None:
    whole = fit(small_splits, tmp_path, "whole", breaks=10**9)
    with pytest.raises(KeyboardInterrupt):
        fit(small_splits, tmp_path, "stopped", breaks=steps)
    found = fit(small_splits, tmp_path, "stopped", resume=True)
    assert_same_run(found, whole)
    assert found.result["learned"] == whole.result["learned"]


def test_what_was_learnt_is_told(small_splits: Splits, tmp_path: Path) -> None:
    outcome = fit(small_splits, tmp_path, "run")
    found = outcome.result["learned"]["lr"]
    last = outcome.metrics[-1]
    assert found["factor"] == last["learning_rate_factor"] != 1.0
    assert found["times_put_back"] == last["times_put_back"]
    assert found["learning_rate"] == pytest.approx(found["factor"] * 0.08)
    assert json.loads((tmp_path / "run" / "result.json").read_text())["learned"]["lr"] == found
    said = dict(closing_rows(outcome.result))["learning rate that was learnt, at its peak"]
    assert said == f"{found['learning_rate']:.3g} ({found['factor']:.3g} times the given one)"
    page = (tmp_path / "run" / "report.html").read_text()
    assert "learning_rate_factor" in page


def test_a_run_that_learns_none_says_nothing_of_it(small_splits: Splits, tmp_path: Path) -> None:
    outcome = fit(small_splits, tmp_path, "run", learn=())
    assert "learned" not in outcome.result
    assert "learning_rate_factor" not in outcome.metrics[-1]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"learn": ("momentum",)}, "unknown learn 'momentum'; valid: lr"),
        ({"learn": ("lr",), "learn_until": 0.0}, "learn_until"),
        ({"learn": ("lr",), "epochs": 1}, "takes 100 steps or more"),
    ],
)
def test_what_can_not_be_learnt_is_refused(
    changes: dict[str, Any], message: str, small_splits: Splits, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match=message):
        trainer_for(small_splits, tmp_path, "run", **changes).fit()
