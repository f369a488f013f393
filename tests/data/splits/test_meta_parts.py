"""Who gets which trusted sample: shares of it by seed, with every class in each part where that can be."""

from __future__ import annotations

import cProfile

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from ray_mentor.data import FeatureInputs, Samples
from ray_mentor.data.plan.batches import Plan, epoch_batches, rank_slice
from ray_mentor.data.plan.order import Shuffled
from ray_mentor.data.splits.meta_parts import MetaParts, joined_rows, meta_parts, trained_rows

Labels = list[int] | NDArray[np.int64]


def meta_set(labels: Labels) -> Samples:
    n = len(labels)
    classes = tuple(map(str, range(max(labels) + 1)))
    return Samples(FeatureInputs(np.zeros((n, 2), np.float32)), 500 + np.arange(n), np.array(labels), None, classes)


def parts(labels: Labels, holdout: float, training: float = 0.0, seed: int = 0) -> MetaParts:
    return meta_parts(meta_set(labels), holdout=holdout, training=training, seed=seed)


def ids(samples: Samples | None) -> list[int]:
    return [] if samples is None else samples.ids.tolist()


def held_out_of(labels: Labels, share: float) -> Samples:
    held_out = parts(labels, share).held_out
    assert held_out is not None
    return held_out


@given(
    st.lists(st.integers(0, 5), min_size=1, max_size=60),
    st.floats(0, 0.99),
    st.floats(0.001, 1),
    st.integers(0, 2**40),
)
def test_parts_of_a_set(labels: list[int], holdout: float, training: float, seed: int) -> None:
    found = parts(labels, holdout, training, seed)
    assert found.trained is not None
    assert sorted(ids(found.learnt) + ids(found.held_out)) == list(range(500, 500 + len(labels)))
    assert set(ids(found.trained)) <= set(ids(found.learnt))
    assert set(found.learnt.labels) == set(found.trained.labels) == set(labels), "every class is in both"
    n, classes = len(labels), len(set(labels))
    assert len(ids(found.held_out)) == min(round(holdout * n), n - classes)
    left = len(ids(found.learnt))
    assert len(ids(found.trained)) == max(left - round((1 - training) * left), classes)
    if len(ids(found.held_out)) >= len(set(labels)) and found.held_out is not None:
        assert set(found.held_out.labels) == {label for label in labels if labels.count(label) > 1}


def test_the_defaults_of_digits_are_balanced() -> None:
    found = parts(np.arange(100) % 10, 0.1, 1.0)
    assert found.held_out is not None
    assert found.trained is not None
    counts = [np.bincount(part.labels).tolist() for part in (found.learnt, found.held_out, found.trained)]
    assert counts == [[9] * 10, [1] * 10, [9] * 10]


def test_what_is_held_out_does_not_follow_what_is_trained_on() -> None:
    labels = np.arange(100) % 7
    assert ids(parts(labels, 0.2).held_out) == ids(parts(labels, 0.2, 0.5).held_out)


def test_classes_have_their_share() -> None:
    assert np.bincount(held_out_of(np.repeat([0, 1, 2], [600, 300, 100]), 0.1).labels).tolist() == [60, 30, 10]


def test_a_rare_class_is_in_both_parts() -> None:
    labels = np.repeat([0, 1], [98, 2])
    assert (held_out_of(labels, 0.1).labels == 1).sum() == (parts(labels, 0.1).learnt.labels == 1).sum() == 1


@pytest.mark.parametrize(("labels", "share"), [([0, 1, 2], 0.5), ([0, 0, 0, 0], 0.1), ([0] * 50, 0.0)])
def test_nothing_can_be_spared(labels: list[int], share: float) -> None:
    found = parts(labels, share)
    assert found.held_out is None
    assert found.trained is None
    assert len(found.learnt) == len(labels)


def test_they_follow_the_seed_alone() -> None:
    labels = np.arange(100) % 10
    first, again, other = (parts(labels, 0.2, 0.3, seed) for seed in (1, 1, 2))
    assert ids(first.held_out) == ids(again.held_out) != ids(other.held_out)
    assert ids(first.trained) == ids(again.trained) != ids(other.trained)


def test_inputs_and_labels_stay_together() -> None:
    whole = meta_set(np.arange(60) % 3)
    whole = whole.with_inputs(FeatureInputs(np.stack([whole.ids, whole.labels], axis=1).astype(np.float32)))
    found = meta_parts(whole, holdout=0.3, training=0.3, seed=0)
    for part in (found.learnt, found.held_out, found.trained):
        assert part is not None
        values = part.inputs.take(np.arange(len(part)))
        assert np.array_equal(values[:, 0], part.ids)
        assert np.array_equal(values[:, 1], part.labels)


@pytest.mark.parametrize("n", [1, 6, 7, 20])
def test_each_sample_once_in_an_epoch(n: int) -> None:
    plan = Plan(Shuffled(50), 8, seed=3, epochs=4)
    orders = []
    for epoch in range(plan.epochs):
        steps = range(epoch * plan.epoch_steps, (epoch + 1) * plan.epoch_steps)
        rows = [trained_rows(n, plan, step) for step in steps]
        sizes = {len(part) for part in rows}
        assert max(sizes) - min(sizes) <= 1
        orders.append(np.concatenate(rows).tolist())
        assert sorted(orders[-1]) == list(range(n))
    if n > 5:
        assert orders[0] != orders[1]


@pytest.mark.parametrize("n", [0, 1, 6, 7, 20, 50])
def test_a_step_has_its_part_of_the_epochs_order(n: int) -> None:
    plan = Plan(Shuffled(50), 8, seed=3, epochs=3)
    parts = [part for epoch in range(3) for part in np.array_split(Shuffled(n).rows(3, epoch), plan.epoch_steps)]
    turns = [*range(plan.total_steps), *reversed(range(plan.total_steps))]  # as a run resumes, and as readers run ahead
    for step in turns:
        found = trained_rows(n, plan, step)
        assert np.array_equal(found, parts[step])
        found[:] = -1  # as somebody may who takes it for his own


def test_a_step_costs_the_same_in_an_epoch_of_many_steps() -> None:
    def calls(samples: int) -> int:
        plan, profile = Plan(Shuffled(samples), 8, seed=3, epochs=1), cProfile.Profile()
        trained_rows(20, plan, 0)  # where the epoch begins, its order is drawn
        profile.runcall(trained_rows, 20, plan, 1)
        return sum(entry.callcount for entry in profile.getstats())

    assert calls(80_000) == calls(80)
    assert calls(80) < 20, "nothing is drawn"


@pytest.mark.parametrize("world_size", [1, 2, 3, 7])
def test_rows_in_rank_order(world_size: int) -> None:
    batch, beside = epoch_batches(Shuffled(40), 20, 0, 0)[0], 100 + np.arange(5)
    ranks = [
        np.concatenate([rank_slice(rows, rank, world_size) for rows in (batch, beside)]) for rank in range(world_size)
    ]
    assert np.array_equal(joined_rows(batch, beside, world_size), np.concatenate(ranks))
