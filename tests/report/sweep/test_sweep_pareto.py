"""The Pareto front of accuracy against seconds, against a plain search through all pairs."""

from __future__ import annotations

import math

from hypothesis import given, settings
from hypothesis import strategies as st

from ray_mentor.report.sweep.pareto_front import pareto_front

Trial = tuple[float, float]
FEW = st.sampled_from([0.0, 1.0, 2.0, 3.0, 4.0])  # so that trials tie
FIGURE = st.one_of(FEW, st.floats(-10, 10), st.sampled_from([math.nan, math.inf, -math.inf]))


def beats(one: Trial, other: Trial) -> bool:
    """By the words of the definition."""
    no_worse = one[0] >= other[0] and one[1] <= other[1]
    return no_worse and one != other


def by_search(trials: list[Trial]) -> list[bool]:
    known = [trial for trial in trials if all(map(math.isfinite, trial))]
    return [trial in known and not any(beats(other, trial) for other in known) for trial in trials]


@settings(max_examples=300, deadline=None, database=None)
@given(st.lists(st.tuples(FIGURE, FIGURE), max_size=12))
def test_the_front_is_whom_nobody_beats(trials: list[Trial]) -> None:
    accuracy, seconds = [a for a, _ in trials], [s for _, s in trials]
    assert pareto_front(accuracy, seconds).tolist() == by_search(trials)


def test_a_small_front() -> None:
    accuracy = [0.9, 0.8, 0.8, 0.95, 0.9, math.nan]
    seconds = [10.0, 5.0, 6.0, 20.0, 10.0, 1.0]
    assert pareto_front(accuracy, seconds).tolist() == [True, True, False, True, True, False]
