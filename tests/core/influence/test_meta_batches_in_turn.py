"""The n-th meta update looks at the n-th meta batch, however many steps lie between two.

A run's first step, which is looked back on without a trace, takes the first one, too.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest
from set_mentors import batch, linear, run_of
from tiny_run import batch_of

from ray_mentor.core.batch import MetaBatch
from ray_mentor.core.state.curriculum import capture_curriculum, restore_curriculum


def noting(asked: list[int]) -> Callable[[int], MetaBatch]:
    """Meta batches, and which were asked for."""

    def give(number: int) -> MetaBatch:
        asked.append(number)
        made = batch_of(6, seed=900 + number)
        return MetaBatch(made.inputs, made.labels, 6)

    return give


@pytest.mark.parametrize("interval", [1, 3, 4])
def test_updates_take_them_in_turn(interval: int) -> None:
    """By step, an interval that shares a divisor with the number of meta batches would never reach some."""
    asked: list[int] = []
    curriculum = run_of(linear(("loss",), [-1.0]), update_interval=interval, meta_batch=noting(asked))
    for step in range(3 * interval):
        curriculum.step(batch(step))
    assert asked == [0, 0, 1, 2]


def test_the_first_update_after_burn_in_takes_the_first() -> None:
    asked: list[int] = []
    curriculum = run_of(linear(("loss",), [-1.0]), meta_batch=noting(asked), burn_in=0.05)
    for step in range(7):
        curriculum.step(batch(step))
    assert asked == [0, 0, 1]


def test_a_run_that_goes_on_takes_the_next() -> None:
    asked: list[int] = []
    first, second = (run_of(linear(("loss",), [-1.0]), update_interval=3, meta_batch=noting(asked)) for _ in range(2))
    for step in range(4):
        first.step(batch(step))
    restore_curriculum(capture_curriculum(first, None), second)
    for step in range(4, 8):
        second.step(batch(step))
    assert asked == [0, 0, 1, 2]
