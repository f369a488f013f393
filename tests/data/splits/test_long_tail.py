"""Classes that are made rare: how many samples of each are left, whose, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest
from small_data import feature_samples

from ray_mentor.config import DataConfig
from ray_mentor.config.groups.data import parse_imbalance
from ray_mentor.data import add_noise, prepare
from ray_mentor.data.splits.long_tail import kept_sizes, shares_of
from ray_mentor.data.splits.splits import Splits
from ray_mentor.errors import UserError

PUBLISHED = [1000, 599, 359, 215, 129, 77, 46, 27, 16, 10]
"""Of CIFAR-10 at 100 with a thousand of the first class: 2,478 images (Cui et al. 2019)."""


def truth_sizes(splits: Splits) -> list[int]:
    truth = splits.train.labels if splits.train.true_labels is None else splits.train.true_labels
    return np.bincount(truth, minlength=10).tolist()


@pytest.mark.parametrize("there", [1000, 5000])
def test_the_published_profile(there: int) -> None:
    sizes = np.full(10, there)
    assert kept_sizes(sizes, shares_of("exp", 100.0, 10), 2478).tolist() == PUBLISHED
    assert kept_sizes(sizes, shares_of("exp", 100.0, 10), None)[[0, -1]].tolist() == [there, there // 100]


def test_steps_and_uneven_classes() -> None:
    assert kept_sizes(np.full(5, 40), shares_of("step", 10.0, 5), None).tolist() == [40, 40, 40, 4, 4]
    assert kept_sizes(np.full(5, 40), shares_of("step", 10.0, 5), 65).tolist() == [20, 20, 20, 2, 2]
    assert kept_sizes(np.array([50, 20, 50]), shares_of("exp", 4.0, 3), None).tolist() == [40, 20, 10], "class 1 bounds"
    assert shares_of("exp", 7.0, 1).tolist() == [1.0]


@pytest.mark.parametrize("noise", ["none", "symmetric:0.4", "imb:0.4"])
def test_the_tail_is_of_true_classes_and_all_else_stays_balanced(noise: str) -> None:
    plain = prepare(DataConfig(noise="none"), 3)
    tail = prepare(DataConfig(noise=noise, imbalance="exp:20"), 3)
    sizes = truth_sizes(tail)
    largest = sizes[0]
    assert sizes == [int(largest * 20 ** (-place / 9) + 1e-9) for place in range(10)]
    assert largest == pytest.approx(118, abs=5)
    assert set(tail.train.ids) <= set(plain.train.ids)
    assert tail.meta.ids.tolist() == plain.meta.ids.tolist()
    assert tail.test is not None
    assert plain.test is not None
    assert tail.test.ids.tolist() == plain.test.ids.tolist()
    assert tail.validation is not None
    held_out = tail.validation.labels if tail.validation.true_labels is None else tail.validation.true_labels
    assert np.bincount(held_out, minlength=10)[[0, -1]].tolist() == [13, 1], "thinned alike"
    wrong = 0 if tail.train.true_labels is None else (tail.train.labels != tail.train.true_labels).sum()
    assert wrong == (0 if noise == "none" else round(0.4 * sum(sizes)))
    assert any(note.startswith(f"imbalance exp:20: {sum(sizes)} of ") for note in tail.notes)
    assert truth_sizes(prepare(DataConfig(noise=noise, imbalance="exp:20"), 3)) == sizes


def test_train_size_bounds_the_tail_and_keeps_its_shape() -> None:
    sizes = truth_sizes(prepare(DataConfig(imbalance="step:5", train_size=120), 0))
    assert sizes == [20] * 5 + [4] * 5


def test_flips_land_on_large_classes_in_proportion_to_their_sizes() -> None:
    samples = feature_samples(60_000, classes=4)
    sizes = np.array([30_000, 20_000, 9_000, 1_000])
    samples = samples.with_labels(np.repeat(np.arange(4), sizes), None)
    noisy = add_noise(samples, "imb", 0.5, 0)
    wrong = noisy.labels != samples.labels
    assert wrong.sum() == 30_000
    for label in range(4):
        found = np.bincount(noisy.labels[wrong & (samples.labels == label)], minlength=4)
        expected = np.where(np.arange(4) == label, 0, sizes) / (60_000 - sizes[label]) * found.sum()
        assert (np.abs(found - expected) < 5 * np.sqrt(expected) + 1e-9).all()


def test_noise_where_one_class_is_all_there_is() -> None:
    samples = feature_samples(20, classes=3)
    alone = samples.with_labels(np.zeros(20, np.int64), None)
    assert (add_noise(alone, "imb", 0.5, 0).labels == 0).all()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("zipf:10", "unknown imbalance 'zipf'; valid: none, exp, step"),
        ("exp", "imbalance is 'exp', but it must be exp:FACTOR, e.g. exp:100"),
        ("step:ten", "imbalance is 'step:ten', but it must be step:FACTOR, e.g. step:100"),
        (
            "exp:0.5",
            "imbalance factor is 0.5, but it must be at least 1, the size of the largest class over that of the "
            "smallest; e.g. exp:100",
        ),
        (
            "step:inf",
            "imbalance factor is inf, but it must be at least 1, the size of the largest class over that of the "
            "smallest; e.g. step:100",
        ),
        ("none:3", "imbalance is 'none:3', but none takes no factor"),
    ],
)
def test_what_is_refused(text: str, said: str) -> None:
    with pytest.raises(UserError) as raised:
        DataConfig(imbalance=text)
    assert str(raised.value) == said
    assert parse_imbalance("step:1") == ("step", 1.0)


def test_a_class_that_would_be_empty() -> None:
    with pytest.raises(UserError) as raised:
        prepare(DataConfig(imbalance="step:500"), 0)
    assert str(raised.value) == (
        "imbalance is 'step:500', but then no training sample of class 5 is left of 122, and 119 of the largest class; "
        "give a smaller factor, or more data"
    )
