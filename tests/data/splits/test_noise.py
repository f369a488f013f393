import dataclasses
import re

import numpy as np
import pytest
import torch
from small_data import feature_samples, image_samples

from ray_mentor.data import add_noise
from ray_mentor.data.splits.confusable import CIFAR100_SUPERCLASSES, mistaken_for
from ray_mentor.errors import UserError

CIFAR10 = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")


@pytest.mark.parametrize("rate", [0.0, 0.2, 0.4, 0.777])
@pytest.mark.parametrize("seed", range(3))
def test_symmetric_noise_has_its_rate_exactly_and_keeps_the_truth(rate, seed):
    samples = feature_samples(1003)
    noisy = add_noise(samples, "symmetric", rate, seed)
    assert (noisy.true_labels == samples.labels).all()
    assert (noisy.labels != samples.labels).sum() == round(rate * 1003)


def test_symmetric_noise_reaches_every_other_class_alike():
    samples = feature_samples(50_000, classes=5)
    noisy = add_noise(samples, "symmetric", 0.5, 0)
    moved = noisy.labels != noisy.true_labels
    counts = np.bincount((noisy.labels - noisy.true_labels)[moved] % 5, minlength=5)[1:]
    assert abs(counts - 6250).max() < 5 * 6250**0.5


def test_asymmetric_noise_on_cifar10_follows_the_map():
    samples = dataclasses.replace(feature_samples(5000), classes=CIFAR10)
    noisy = add_noise(samples, "asymmetric", 0.4, 0)
    pairs = {(CIFAR10[a], CIFAR10[b]) for a, b in zip(noisy.true_labels, noisy.labels, strict=True) if a != b}
    assert pairs == {
        ("truck", "automobile"),
        ("bird", "airplane"),
        ("deer", "horse"),
        ("cat", "dog"),
        ("dog", "cat"),
    }
    affected = np.isin(samples.labels, [CIFAR10.index(a) for a, _ in pairs]).sum()
    assert (noisy.labels != noisy.true_labels).sum() == round(0.4 * affected)


def test_asymmetric_noise_on_cifar100_stays_within_superclasses():
    names = tuple(sorted(name for members in CIFAR100_SUPERCLASSES.values() for name in members))
    assert len(set(names)) == 100
    next_of = {names[a]: names[b] for a, b in enumerate(mistaken_for(names))}
    assert next_of["beaver"] == "dolphin"
    assert next_of["whale"] == "beaver"
    for members in CIFAR100_SUPERCLASSES.values():
        assert list(members) == sorted(members)
        assert {next_of[name] for name in members} == set(members)


def test_asymmetric_noise_on_other_classes_moves_one_up():
    noisy = add_noise(feature_samples(1000, classes=7), "asymmetric", 0.3, 0)
    moved = noisy.labels != noisy.true_labels
    assert moved.sum() == 300
    assert (((noisy.labels - noisy.true_labels) % 7)[moved] == 1).all()


def test_instance_noise_has_its_rate_and_depends_on_the_input():
    samples = feature_samples(20_000, classes=4)
    noisy = add_noise(samples, "instance", 0.3, 0)
    moved = noisy.labels != noisy.true_labels
    assert moved.mean() == pytest.approx(0.3, abs=0.015)
    again = add_noise(samples, "instance", 0.3, 0, stream=1)
    both = moved & (again.labels != again.true_labels)
    # Two draws of the same samples agree on the wrong class far more often than the 1/3 of chance.
    assert (noisy.labels == again.labels)[both].mean() > 0.6


def test_instance_noise_follows_the_published_distribution():
    """The wrong class is a draw from softmax(x · W_y) without y, for W of this seed."""
    samples = feature_samples(1, classes=3)
    rows = np.zeros(40_000, np.int64)
    many = dataclasses.replace(
        samples, inputs=samples.inputs.select(rows), ids=np.arange(40_000), labels=np.full(40_000, 1)
    )
    noisy = add_noise(many, "instance", 0.5, seed=3)
    draw = np.random.default_rng([3, 201])
    projection = [draw.standard_normal((6, 3), dtype=np.float32) for _ in range(3)][1]
    logits = samples.inputs.values[0] @ projection
    expected = 1 / (1 + np.exp(logits[2] - logits[0]))
    wrong = noisy.labels[noisy.labels != 1]
    assert (wrong == 0).mean() == pytest.approx(expected, abs=0.02)


def test_instance_noise_works_on_images():
    noisy = add_noise(image_samples(300), "instance", 0.4, 0)
    assert 80 < (noisy.labels != noisy.true_labels).sum() < 160


@pytest.mark.parametrize("kind", ["symmetric", "asymmetric", "instance"])
def test_noise_depends_on_its_seed_alone(kind):
    samples = feature_samples()
    first = add_noise(samples, kind, 0.3, 5)
    np.random.seed(1)  # noqa: NPY002
    torch.manual_seed(1)
    assert (add_noise(samples, kind, 0.3, 5).labels == first.labels).all()
    assert (add_noise(samples, kind, 0.3, 6).labels != first.labels).any()
    assert (add_noise(samples, kind, 0.3, 5, stream=1).labels != first.labels).any()


def test_no_noise_leaves_the_samples_and_a_known_truth_stays():
    samples = feature_samples(100)
    assert add_noise(samples, "none", 0.0, 0) is samples
    truth = (samples.labels + 1) % 10
    known = samples.with_labels(samples.labels, truth)
    assert (add_noise(known, "symmetric", 0.5, 0).true_labels == truth).all()


@pytest.mark.parametrize(
    ("kind", "rate", "classes", "text"),
    [
        ("pair", 0.1, 10, "unknown noise 'pair'; valid: none, symmetric, asymmetric, instance, imb"),
        ("symmetric", 1.0, 10, "noise rate is 1.0, but it must lie in [0, 1); e.g. 0.4 for 40 %"),
        ("instance", -0.1, 10, "noise rate is -0.1, but it must lie in [0, 1)"),
        ("symmetric", 0.1, 1, "noise needs at least two classes to confuse, but there is 1; use noise none"),
    ],
)
def test_errors(kind, rate, classes, text):
    with pytest.raises(UserError, match=re.escape(text)):
        add_noise(feature_samples(classes=classes), kind, rate, 0)
