"""CMW-Net's mentor: K-means of class sizes, hand-made heads, and what is refused."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest
import torch
from own_loop import Loop, blobs
from sklearn.cluster import KMeans

from ray_mentor.config import CurriculumConfig, MentorConfig
from ray_mentor.core.mentor.learner import MentorLearner
from ray_mentor.core.mentor.mentor_file import MENTOR_FILE, frozen_from, mentor_bytes
from ray_mentor.core.mentor.networks import CMWMentor
from ray_mentor.core.mentor.networks.cmw import scales_of
from ray_mentor.core.mentor.start import first_mentor
from ray_mentor.core.step.features import Features
from ray_mentor.errors import UserError

SIZES = (500, 10, 11, 480, 100, 12)
CMW = MentorConfig(mentor="cmw", update_interval=1)


def features(loss: torch.Tensor, label: torch.Tensor) -> Features:
    return Features(loss, loss - 1, label, torch.zeros(len(loss)), torch.zeros(len(loss), 0))


@pytest.mark.parametrize(
    ("sizes", "expected"),
    [
        (SIZES, [2, 0, 0, 2, 1, 0]),
        ((7, 7, 7), [0, 0, 0]),
        ((7, 9, 7), [0, 1, 0]),
        ((0, 5, 90), [0, 1, 2]),
        ((5,), [0]),
        ((1, 2, 3, 4), [0, 1, 2, 2]),
    ],
)
def test_scales_by_hand(sizes: tuple[int, ...], expected: list[int]) -> None:
    found = scales_of(sizes)
    if sizes == (1, 2, 3, 4):  # two of them together, whichever
        assert sorted(np.bincount(found).tolist()) == [1, 1, 2]
        assert found == sorted(found)
    else:
        assert found == expected


def spread(sizes: np.ndarray, scales: list[int]) -> float:
    """Σ (n_y − mean of its cluster)²."""
    return sum(float(((of := sizes[np.equal(scales, k)]) - of.mean()).__pow__(2).sum()) for k in set(scales))


def test_no_other_way_to_cut_the_sizes_is_better_and_scikit_learns_is_no_better() -> None:
    draw = np.random.default_rng(0)
    for _ in range(20):
        sizes = draw.integers(0, 60, 9)
        found = spread(sizes, scales_of(sizes.tolist()))
        ordered = np.sort(sizes)
        cuts = itertools.combinations(range(1, 9), 2)
        best = min(spread(ordered, [int(i >= a) + int(i >= b) for i in range(9)]) for a, b in cuts)
        assert found == pytest.approx(best)
        assert found <= KMeans(3, n_init=10, random_state=0).fit(sizes[:, None]).inertia_ + 1e-6


def test_each_class_has_the_head_of_its_scale() -> None:
    mentor = CMWMentor(len(SIZES), 0.9).double()
    mentor.take_sizes(SIZES)
    with torch.no_grad():
        mentor.heads[:] = torch.tensor([1.0, 2.0, 3.0]) / 100
        mentor.head_biases[:] = torch.tensor([0.1, 0.2, 0.3])
        mentor.shared_weight[:] = 0.5
        mentor.shared_bias[:] = -1.0
    losses = torch.tensor([0.0, 1.0, 2.0, 3.0, 4.0, 5.0], dtype=torch.float64)
    shared = torch.tanh(0.5 * losses - 1)
    scale = torch.tensor([2, 0, 0, 2, 1, 0])
    expected = (scale + 1) * shared + 0.1 * (scale + 1) + torch.log(torch.tensor(9.0, dtype=torch.float64))
    torch.testing.assert_close(mentor(features(losses, torch.arange(6))), expected, rtol=1e-6, atol=1e-6)


def test_the_sizes_travel_with_the_mentor() -> None:
    learner = first_mentor(CurriculumConfig(), CMW, 6, 0, SIZES, in_nats=True)
    again = MentorLearner(CMW, 6, 0)
    again.load(learner.state())
    assert torch.equal(again.network.membership, learner.network.membership)
    assert again.network.membership.argmax(dim=1).tolist() == [2, 0, 0, 2, 1, 0]


def test_a_file_of_another_data_set_begins_with_this_ones_sizes(tmp_path: Path) -> None:
    path = str(tmp_path)
    state = first_mentor(CurriculumConfig(), CMW, 6, 0, SIZES, in_nats=True).state()
    (tmp_path / MENTOR_FILE).write_bytes(mentor_bytes(state, CMW, 6, in_nats=True))
    other = MentorConfig(mentor="cmw", update_interval=1, mentor_from=path)
    found = first_mentor(CurriculumConfig(), other, 6, 0, SIZES[::-1], in_nats=True).network
    assert found.membership.argmax(dim=1).tolist() == [0, 1, 2, 0, 0, 2]
    assert frozen_from(path).network.membership.argmax(dim=1).tolist() == [2, 0, 0, 2, 1, 0]
    with pytest.raises(UserError, match=r"has classes 6, but the one that is to begin so has 5; they must be the same"):
        first_mentor(CurriculumConfig(), other, 5, 0, SIZES[:5], in_nats=True)


def test_a_loop_of_ones_own_says_how_large_its_classes_are() -> None:
    with pytest.raises(UserError, match="class_sizes is None, but mentor cmw looks at how large a sample's class is"):
        Loop(mentor=CMW, n_classes=3)
    with pytest.raises(UserError, match="there are sizes of 2 classes, but this mentor was made for 3; give one for"):
        Loop(mentor=CMW, n_classes=3, class_sizes=(1, 2))
    inputs, labels = blobs(60, 0)
    loop = Loop(mentor=CMW, class_sizes=torch.bincount(labels, minlength=3).tolist())
    record = loop.step(inputs, labels, torch.arange(60))
    assert record.influence.isfinite().all() or record.influence.isnan().all()
