"""Where values stand on an axis of parallel coordinates, and what is written beside it."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from ray_mentor.report.amounts import logarithmic
from ray_mentor.report.sweep.figures.axes import axis, shortened


def test_kinds_have_a_tick_each() -> None:
    along = axis(["b", "a", None, "b", True])
    assert along.texts == ["–", "a", "b", "true"]
    assert along.ticks == [0.0, 1.0, 2.0, 3.0]
    assert along.places == [2.0, 1.0, 0.0, 2.0, 3.0]


def test_few_numbers_are_the_ticks() -> None:
    along = axis([0.3, 0.1, 0.2, 0.1])
    assert (along.places, along.ticks, along.texts) == ([0.3, 0.1, 0.2, 0.1], [0.1, 0.2, 0.3], ["0.1", "0.2", "0.3"])


def test_numbers_far_apart_stand_by_their_logarithms() -> None:
    along = axis([1, 2, 5, 10, 20, 50])
    assert along.places == [math.log10(value) for value in (1, 2, 5, 10, 20, 50)]
    assert along.texts == ["1", "2", "5", "10", "20", "50"]


def test_many_numbers_have_round_ticks_and_both_ends() -> None:
    values = [float(value) for value in np.linspace(0.013, 0.987, 50)]
    assert axis(values).texts == ["0.013", "0.2", "0.4", "0.6", "0.8", "0.987"]
    assert axis([10**value for value in values]).texts == ["1.03", "2", "4", "6", "8", "9.705"]


def test_many_numbers_far_apart_have_decades() -> None:
    values = [float(10**value) for value in np.linspace(-4.3, -0.2, 50)]
    assert axis(values).texts == ["5.012e-05", "0.0001", "0.001", "0.01", "0.1", "0.631"]


def test_where_a_number_means_nothing_a_trial_stands_below_all() -> None:
    along = axis([1.0, None, 2.0])
    assert along.texts == ["–", "1", "2"]
    assert along.places[1] == along.ticks[0] == along.ends[0] < 1.0


@pytest.mark.parametrize(
    "values",
    [[5], [None], [None, None], ["a"], [0.1, None], [True, False], [-1.0, 1e9], list(range(100)), [1, "a", None, 2.5]],
)
def test_every_place_and_tick_lies_on_the_axis(values: list[Any]) -> None:
    along = axis(values)
    low, high = along.ends
    assert low < high
    assert len(along.places) == len(values)
    assert len(along.ticks) == len(along.texts)
    assert all(low <= place <= high for place in [*along.places, *along.ticks])


def test_long_texts_lose_their_middle_as_far_as_they_stay_different() -> None:
    assert shortened(["short", "a" * 30]) == ["short", "aaaaaaaaa…aaaaaaaa"]
    alike = ["loss+loss_difference+label+history", "loss+loss_difference+other+history"]
    cut = shortened(alike)
    assert len(set(cut)) == 2
    assert all(len(text) <= len(whole) for text, whole in zip(cut, alike, strict=True))


@pytest.mark.parametrize("seed", range(5))
def test_a_uniform_draw_is_not_taken_for_a_logarithmic_one(seed: int) -> None:
    random = np.random.default_rng(seed)
    uniform = random.uniform(0, 1, 200)
    assert uniform.max() / uniform.min() > 20
    assert not logarithmic(list(uniform))
    assert logarithmic(list(10 ** random.uniform(-4, -1, 200)))


@pytest.mark.parametrize("values", [[0.0, 1.0, 100.0], [-1.0, 1.0], [1.0, 2.0, 20.0], [3.0]])
def test_a_narrow_range_or_one_with_zero_has_no_logarithm(values: list[float]) -> None:
    assert not logarithmic(values)
