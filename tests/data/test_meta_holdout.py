"""What is held out of a meta set: a share of it by seed, with every class in both parts where that can be."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from ray_mentor.data import FeatureInputs, Samples
from ray_mentor.data.splits import trusted_parts


def meta_set(labels: list[int] | NDArray[np.int64]) -> Samples:
    n = len(labels)
    classes = tuple(map(str, range(max(labels) + 1)))
    return Samples(FeatureInputs(np.zeros((n, 2), np.float32)), 500 + np.arange(n), np.array(labels), None, classes)


def parts(labels: list[int] | NDArray[np.int64], share: float, seed: int = 0) -> tuple[Samples, Samples]:
    learnt, held_out = trusted_parts(meta_set(labels), share, seed)
    assert held_out is not None
    return learnt, held_out


@given(st.lists(st.integers(0, 5), min_size=1, max_size=60), st.floats(0, 0.99), st.integers(0, 2**40))
def test_two_parts_of_a_set(labels: list[int], share: float, seed: int) -> None:
    learnt, held_out = trusted_parts(meta_set(labels), share, seed)
    ids = [] if held_out is None else held_out.ids.tolist()
    assert sorted([*learnt.ids.tolist(), *ids]) == list(range(500, 500 + len(labels)))
    assert set(learnt.labels) == set(labels), "the mentor learns from every class"
    assert len(ids) == min(round(share * len(labels)), len(labels) - len(set(labels)))
    if len(ids) >= len(set(labels)) and held_out is not None:
        assert set(held_out.labels) == {label for label in labels if labels.count(label) > 1}


def test_the_default_of_digits_is_one_of_each_class() -> None:
    learnt, held_out = parts(np.arange(100) % 10, 0.1)
    assert sorted(held_out.labels) == list(range(10))
    assert np.bincount(learnt.labels).tolist() == [9] * 10


def test_classes_have_their_share() -> None:
    _, held_out = parts(np.repeat([0, 1, 2], [600, 300, 100]), 0.1)
    assert np.bincount(held_out.labels).tolist() == [60, 30, 10]


def test_a_rare_class_is_in_both_parts() -> None:
    learnt, held_out = parts(np.repeat([0, 1], [98, 2]), 0.1)
    assert (held_out.labels == 1).sum() == (learnt.labels == 1).sum() == 1


@pytest.mark.parametrize(("labels", "share"), [([0, 1, 2], 0.5), ([0, 0, 0, 0], 0.1), ([0] * 50, 0.0)])
def test_nothing_can_be_held_out(labels: list[int], share: float) -> None:
    learnt, held_out = trusted_parts(meta_set(labels), share, 0)
    assert held_out is None
    assert len(learnt) == len(labels)


def test_it_follows_the_seed_alone() -> None:
    labels = np.arange(100) % 10
    first, again, other = (parts(labels, 0.2, seed)[1].ids.tolist() for seed in (1, 1, 2))
    assert first == again != other


def test_inputs_and_labels_stay_together() -> None:
    whole = meta_set(np.arange(60) % 3)
    whole = whole.with_inputs(FeatureInputs(np.stack([whole.ids, whole.labels], axis=1).astype(np.float32)))
    for part in trusted_parts(whole, 0.3, 0):
        assert part is not None
        values = part.inputs.take(np.arange(len(part)))
        assert np.array_equal(values[:, 0], part.ids)
        assert np.array_equal(values[:, 1], part.labels)
