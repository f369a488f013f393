"""How a sweep stands, row by row."""

from __future__ import annotations

import math
from typing import Any

import pytest
from sweep_rows import ended, trial

from ray_mentor.report.sweep.standing import SweepStanding


def standing(*rows: tuple[float, dict[str, Any]], trials: int = 8, epochs: int = 10) -> SweepStanding:
    """After rows at their times; it was made at 0."""
    made = SweepStanding(trials, epochs, 0.0)
    for at, row in rows:
        made.take(row, at)
    return made


def test_a_trial_runs_until_it_ends() -> None:
    made = standing((1.0, trial("a", 1)), (2.0, trial("b", 1)), (3.0, trial("a", 2)), (4.0, ended("b", "stopped")))
    assert list(made.running) == ["a"]
    assert made.running["a"]["epoch"] == 2
    assert dict(made.counts) == {"stopped": 1}
    assert made.ended == 1


def test_a_trial_that_was_paused_goes_on() -> None:
    made = standing((1.0, trial("a", 1)), (2.0, ended("a", "stopped")), (3.0, trial("a", 2)))
    assert list(made.running) == ["a"]
    assert made.ended == 0


@pytest.mark.parametrize("state", ["failed", "hopeless"])
def test_the_best_is_the_last_word_of_a_trial_that_can_be_the_answer(state: str) -> None:
    made = standing((1.0, trial("a", 1, objective=0.9)), (2.0, trial("b", 1, objective=0.5)))
    assert made.best is not None
    assert made.best["trial"] == "a"
    made.take(trial("a", 2, objective=0.4), 3.0)
    assert made.best["trial"] == "b", "the objective of a went down"
    made.take(ended("b", state, 0.5), 4.0)
    assert made.best["trial"] == "a"


@pytest.mark.parametrize("objective", [None, math.nan, math.inf])
def test_no_objective_is_no_best(objective: float | None) -> None:
    assert standing((1.0, trial("a", 1, objective=objective)), (2.0, ended("b", "failed", objective))).best is None


def test_an_ended_trial_keeps_its_settings() -> None:
    best = standing((1.0, trial("a", 1, settings={"x": 1})), (2.0, ended("a", "finished", 0.7))).best
    assert best is not None
    assert (best["settings"], best["objective"]) == ({"x": 1}, 0.7)


def test_the_time_left_is_at_the_speed_until_now() -> None:
    """Two trials at a time, 100 s each: six of eight are left after 100 s, in three rounds."""
    rows = [(10.0 * e, trial(name, e)) for e in range(1, 11) for name in "ab"]
    made = standing((0.0, trial("a", 0)), *rows, (100.0, ended("a", "finished")), (100.0, ended("b", "finished")))
    assert made.seconds_left(100.0) == pytest.approx(300.0)


def test_running_trials_count_by_their_epochs() -> None:
    made = standing((0.0, trial("a", 0)), (50.0, trial("a", 5)), trials=2)
    assert made.seconds_left(50.0) == pytest.approx(150.0)


def test_what_an_interrupted_sweep_did_took_no_time_now() -> None:
    before = [(5.0, ended(name, "finished")) for name in "abcdef"]
    made = standing(*before, (60.0, trial("g", 0)), (160.0, ended("g", "finished")))
    assert made.seconds_left(160.0) == pytest.approx(100.0)


def test_nothing_is_left_in_the_end_and_nothing_known_at_the_start() -> None:
    assert standing().seconds_left(5.0) is None
    assert standing((1.0, trial("a", 1))).seconds_left(1.0) is None
    done = standing((0.0, trial("a", 0)), (5.0, ended("a", "failed")), trials=1)
    assert done.seconds_left(5.0) == 0.0
