"""What a run remembers of losses: the running percentile, and each sample's history."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tiny_run import batch_of, curriculum_of, student_of

from ray_mentor.config import MentorConfig
from ray_mentor.core.history.table import LossHistory, filled
from ray_mentor.core.history.touched_rows import TouchedRows
from ray_mentor.core.step.percentile import RunningPercentile

LOSSES = st.lists(st.floats(0, 100, width=32), min_size=1, max_size=30)


@given(LOSSES, st.floats(0.01, 0.99))
def test_the_first_batch_sets_the_percentile(losses: list[float], p: float) -> None:
    """The percentile lies between the two sorted losses around position p·(n − 1), in proportion."""
    found = RunningPercentile(p, 0.9).update(torch.tensor(losses))
    ordered, position = sorted(losses), p * (len(losses) - 1)
    low, share = math.floor(position), position - math.floor(position)
    high = min(low + 1, len(losses) - 1)
    assert found == pytest.approx(ordered[low] * (1 - share) + ordered[high] * share, rel=1e-9, abs=1e-12)


def test_later_batches_move_the_percentile_by_its_decay() -> None:
    running = RunningPercentile(0.5, 0.8)
    assert running.update(torch.tensor([1.0, 2.0, 3.0])) == 2.0
    assert running.update(torch.tensor([7.0])) == pytest.approx(0.8 * 2 + 0.2 * 7)
    assert running.value == running.update(torch.tensor([running.value]))


def test_without_decay_only_the_present_batch_counts() -> None:
    running = RunningPercentile(0.5, 0.0)
    assert [running.update(torch.tensor([value])) for value in (3.0, 1.0)] == [3.0, 1.0]


def test_history_is_newest_first_and_keyed_by_row() -> None:
    history = LossHistory(4, 2)
    rows = torch.tensor([2, 0])
    assert filled(history.past(rows), torch.tensor([5.0, 6.0])).tolist() == [[5, 5], [6, 6]]
    history.push(rows, torch.tensor([5.0, 6.0]))
    assert filled(history.past(rows), torch.tensor([7.0, 8.0])).tolist() == [[5, 7], [6, 8]]
    history.push(rows.flip(0), torch.tensor([8.0, 7.0]))
    history.push(rows[:1], torch.tensor([9.0]))
    assert filled(history.past(torch.tensor([0, 1, 2])), torch.zeros(3)).tolist() == [[8, 6], [0, 0], [9, 7]]


def test_no_history_costs_nothing_and_gives_no_columns() -> None:
    history = LossHistory(10**9, 0)
    history.push(torch.tensor([1]), torch.tensor([1.0]))
    assert filled(history.past(torch.tensor([1, 2])), torch.zeros(2)).shape == (2, 0)


@given(st.lists(st.integers(0, 99)), st.lists(st.integers(0, 99)))
def test_touched_rows_are_a_set(first: list[int], second: list[int]) -> None:
    touched = TouchedRows(100)
    for rows in (first, second):
        touched.add(np.array(rows, np.int64))
    assert touched.rows().tolist() == sorted({*first, *second})
    assert len(touched) == len({*first, *second})
    touched.forget()
    assert len(touched) == len(touched.rows()) == 0


def test_touched_rows_of_a_large_table() -> None:
    """More than is looked at together."""
    rows = [0, 2**23 - 1, 2**23, 2**25 + 5, 2**25 + 6]
    touched = TouchedRows(2**25 + 7)
    touched.add(np.array(rows))
    assert touched.rows().tolist() == rows


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_a_step_takes_the_losses_down_whatever_their_type(dtype: torch.dtype) -> None:
    curriculum = curriculum_of(student_of(dtype), config=MentorConfig(history_length=2))
    batch = batch_of(dtype=dtype)
    first = curriculum.step(batch).losses
    seen = curriculum.observe(batch)
    torch.testing.assert_close(seen.features.history[:, 0].float(), first.float())
    torch.testing.assert_close(seen.features.history[:, 1].float(), seen.losses.detach().float())
