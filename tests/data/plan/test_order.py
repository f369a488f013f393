"""An order shows every row once; a windowed one keeps to its windows, which are whole stretches of the storage."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ray_mentor.data.plan.batches import Plan, rank_slice
from ray_mentor.data.plan.order import Shuffled, Windowed
from ray_mentor.data.storage.stored import rank_parts

SIZES = st.lists(st.integers(1, 20), min_size=1, max_size=30).map(np.array)
SEED = st.integers(0, 2**31)


@given(sizes=SIZES, shuffle_rows=st.integers(1, 50), seed=SEED, epoch=st.integers(0, 1000))
def test_windows_hold_every_row_once_in_whole_stretches_and_no_more_than_they_may(sizes, shuffle_rows, seed, epoch):
    order = Windowed(sizes, shuffle_rows)
    stretch = np.repeat(np.arange(len(sizes)), sizes)
    windows = order.windows(seed, epoch)
    assert sorted(np.concatenate(windows)) == list(range(len(order))) == list(range(sizes.sum()))
    for window in windows:
        met = np.unique(stretch[window])
        assert len(window) == sizes[met].sum()
        assert len(window) <= shuffle_rows or len(met) == 1
        assert len(window) <= order.largest
    np.testing.assert_array_equal(order.rows(seed, epoch), np.concatenate(windows))


def test_rows_of_a_window_are_shuffled_and_each_epoch_has_other_windows():
    order = Windowed(np.full(20, 50), 250)
    first, second = order.windows(3, 0), order.windows(3, 1)
    assert [len(window) for window in first] == [250] * 4
    assert all((np.diff(window) != 1).mean() > 0.9 for window in first)
    assert {tuple(sorted(window)) for window in first} != {tuple(sorted(window)) for window in second}
    assert (order.rows(3, 0) == Windowed(np.full(20, 50), 250).rows(3, 0)).all()
    assert (order.rows(3, 0) != order.rows(4, 0)).any()


def test_where_stretches_come_is_uniform():
    """Each of 5 stretches is first in a fifth of 2,000 epochs, to five standard deviations."""
    order = Windowed(np.array([3, 1, 4, 1, 5]), 1)
    first = np.bincount([order.rows(0, epoch)[0] for epoch in range(2000)], minlength=14)
    by_stretch = np.add.reduceat(first, [0, 3, 4, 8, 9])
    assert abs(by_stretch - 400).max() < 5 * np.sqrt(2000 * 0.2 * 0.8)


@given(
    sizes=SIZES,
    shuffle_rows=st.integers(1, 50),
    batch=st.integers(1, 40),
    world=st.integers(1, 3),
    first=st.integers(0, 10_000),
)
def test_parts_of_a_rank_are_its_shares_of_the_batches_cut_at_windows(sizes, shuffle_rows, batch, world, first):
    order = Windowed(sizes, shuffle_rows)
    plan = Plan(order, batch, 7, 3)
    first %= plan.total_steps
    for rank in range(world):
        wanted = [rank_slice(rows, rank, world) for _, rows, _ in plan.steps(first)]
        parts = list(rank_parts(plan, first, rank, world))
        np.testing.assert_array_equal(np.concatenate([[], *parts]), np.concatenate(wanted))
        windows = [set(window.tolist()) for epoch in range(3) for window in order.windows(7, epoch)]
        assert all(any(set(part.tolist()) <= window for window in windows) for part in parts)
        assert len(parts) <= len(windows)
        assert all(len(part) for part in parts)


@pytest.mark.parametrize("n", [1, 5])
def test_a_full_shuffle_is_one_window(n):
    assert [sorted(window) for window in Shuffled(n).windows(0, 0)] == [list(range(n))]
