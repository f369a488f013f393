"""How many labels are wrong, by trusted samples: on counts of which it is known."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from ray_mentor.run.audit.by_trusted import Found, Heard, found_by, joint, scaled, short_of
from ray_mentor.run.audit.confusion import confusion, evenness
from ray_mentor.run.audit.sums import Sums

Table = NDArray[np.float64]

CONFUSION = np.array([[0.7, 0.2, 0.1], [0.25, 0.6, 0.15], [0.05, 0.1, 0.85]])
WRONG = {
    0.0: np.diag([0.3, 0.3, 0.4]),
    0.2: np.array([[0.30, 0.05, 0.02], [0.00, 0.25, 0.08], [0.01, 0.04, 0.25]]),
}
"""N, a row a given class, by its rate."""


def heard_of(said: Table) -> Heard:
    """Of samples that were each asked once."""
    return Heard(said, said, said.sum(), said.sum(axis=1))


def drawn(N: Table, samples: int, trusted: int, draw: np.random.Generator) -> Found:
    said = draw.multinomial(samples, (N @ CONFUSION).ravel()).reshape(N.shape).astype(np.float64)
    known = draw.multinomial(trusted, CONFUSION).astype(np.float64)
    return found_by(heard_of(said), known, samples)


def test_the_joint_distribution_is_found_of_what_it_makes() -> None:
    """In float64, to the end."""
    for N in 0.1 / 9 + 0.9 * np.random.default_rng(0).dirichlet(np.ones(9), size=4).reshape(4, 3, 3):
        found = joint(N @ CONFUSION, CONFUSION, steps=20_000)
        np.testing.assert_allclose(found, N, atol=1e-9)


def test_two_classes_in_closed_form() -> None:
    """N[g, 1] = (J[g, 1] − α·J_g)/(1 − α − β), where 0 is taken for 1 in α of the cases, and 1 for 0 in β."""
    alpha, beta = 0.1, 0.2
    said = np.array([[0.41, 0.19], [0.09, 0.31]])
    true_1 = (said[:, 1] - alpha * said.sum(axis=1)) / (1 - alpha - beta)
    found = joint(said, np.array([[1 - alpha, alpha], [beta, 1 - beta]]), steps=20_000)
    np.testing.assert_allclose(found[:, 1], true_1, atol=1e-12)
    np.testing.assert_allclose(found[:, 1], [0.13 / 0.7, 0.27 / 0.7], atol=1e-12)
    np.testing.assert_allclose(found.sum(axis=1), [0.6, 0.4], atol=1e-12)
    assert 1 - np.trace(found) == pytest.approx(0.2, abs=1e-12), "though 0.28 are taken for another class"


@pytest.mark.parametrize("rate", [0.0, 0.2])
def test_of_endless_counts_the_rate_is_the_true_one(rate: float) -> None:
    N, many = WRONG[rate], 10**8
    found = found_by(heard_of(many * (N @ CONFUSION)), many * CONFUSION, many)
    assert found.rate == pytest.approx(rate, abs=2e-3)
    np.testing.assert_allclose(found.joint, N, atol=2e-3)
    assert found.high - found.low < 5e-3
    assert found.trusted == 3 * many


@pytest.mark.parametrize("rate", [0.0, 0.2])
def test_the_interval_holds_the_truth_as_often_as_it_says(rate: float) -> None:
    """Of 200 draws with 50 trusted samples a class; and nobody would learn it from what the student contradicts."""
    N, draw = WRONG[rate], np.random.default_rng(1)
    found = [drawn(N, 3000, 50, draw) for _ in range(200)]
    holds = np.mean([each.low <= rate + 1e-12 and rate <= each.high for each in found])
    assert holds >= 0.93
    assert np.mean([each.high - each.low for each in found]) < 0.27, "no wider than it must be"
    assert np.mean([each.rate for each in found]) == pytest.approx(rate, abs=0.03), "none is below 0"
    assert 1 - np.trace(N @ CONFUSION) > rate + 0.15


@pytest.mark.parametrize(
    ("right", "rate", "trusted"), [(0.8, 0.0, 35), (0.8, 0.05, 35), (0.8, 0.1, 10), (0.9, 0.05, 35)]
)
def test_of_two_classes_and_few_trusted_samples_it_holds_the_truth(right: float, rate: float, trusted: int) -> None:
    """Where nothing is found, too: so few trusted samples as make more errors than the others don't rule all out."""
    P = np.array([[right, 1 - right], [1 - right, right]])
    N, draw, found = np.array([[1 - rate, rate], [rate, 1 - rate]]) / 2, np.random.default_rng(3), []
    for _ in range(60):
        said = draw.multinomial(2000, (N @ P).ravel()).reshape(2, 2).astype(np.float64)
        found.append(found_by(heard_of(said), draw.multinomial(trusted, P).astype(np.float64), 2000))
    assert np.mean([each.low <= rate + 1e-12 and rate <= each.high for each in found]) >= 0.9
    assert min(each.high for each in found) > 0.02
    assert np.mean([each.high - each.low for each in found]) < (0.25 if trusted > 10 else 0.45)


def test_epochs_that_repeat_an_answer_are_no_more_samples() -> None:
    """What is said of a sample in four epochs: the same each time, or drawn anew, so that P is known of four times as
    many; the sums are the same.
    """
    N, many = WRONG[0.2], 3000
    said, known = 4 * many * (N @ CONFUSION), 50 * CONFUSION
    given = said.sum(axis=1) / 4
    shares = (said / said.sum(axis=1, keepdims=True)) * given[:, None]
    anew = ((shares / given[:, None]) ** 2).sum(axis=1) @ given + many / 100
    same, other = (found_by(Heard(said, shares, squares, given), known, many) for squares in (float(many), float(anew)))
    assert same.rate == pytest.approx(other.rate, abs=0.03)
    assert other.high - other.low < 0.7 * (same.high - same.low)


def test_the_sums_of_given_classes_are_kept() -> None:
    found = drawn(WRONG[0.2], 3000, 50, np.random.default_rng(2))
    assert (found.joint >= 0).all()
    assert found.joint.sum() == pytest.approx(1)
    assert found.rate == pytest.approx(1 - np.trace(found.joint))
    assert found.low <= found.rate <= found.high
    for times in (0.0, 0.5, 1.0, 100.0):
        again = scaled(WRONG[0.2], times)
        np.testing.assert_allclose(again.sum(axis=1), WRONG[0.2].sum(axis=1))
        assert (again >= 0).all()
    np.testing.assert_allclose(scaled(WRONG[0.2], 0.5), (WRONG[0.2] + np.diag(WRONG[0.2].sum(axis=1))) / 2)


def test_what_few_trusted_samples_say_by_hand() -> None:
    """Classes that err alike share their errors: e = (k + a·m)/(n + a), here a = 1000 and m = (3 + ½)/(30 + 1)."""
    trusted = np.array([[9.0, 1, 0], [0, 9, 1], [1, 0, 9]])
    m, even = 3.5 / 31, 0.5
    e = (1 + 1000 * m) / 1010
    found = confusion(trusted, even)
    np.testing.assert_allclose(found.diagonal(), 1 - e)
    np.testing.assert_allclose(found[0], [1 - e, e * 1.5 / 2, e * 0.5 / 2])
    unlike = confusion(np.array([[10.0, 0, 0], [0, 10, 0], [5, 5, 0]]), even)
    assert unlike[0, 0] > 0.9
    assert unlike[2, 2] < 0.1


def test_how_evenly_errors_go() -> None:
    one = np.array([[50.0, 12, 0, 0], [0, 50, 12, 0], [0, 0, 50, 12], [12, 0, 0, 50]])
    all_ = 46 * np.eye(4) + 4
    assert evenness(one) < 0.1
    assert evenness(all_) == pytest.approx(3)


def sums_of(soon: list[list[int]], given: list[int]) -> Sums:
    of_whom = np.array(given)
    later = np.full((len(given), 2), 99, np.int32)
    return Sums(np.arange(len(given)), {}, of_whom, of_whom, later, np.array(soon, np.int32))


def test_how_far_epochs_count_as_one_answer() -> None:
    """The variance between samples over that of single predictions: 1, where each always has the same answer."""
    assert Heard.of(sums_of([[4, 0], [0, 4], [4, 0], [0, 4]], [0, 0, 1, 1])).alike == pytest.approx(1)
    assert Heard.of(sums_of([[3, 1], [1, 3]], [0, 0])).alike == pytest.approx(0.25)
    assert Heard.of(sums_of([[2, 2], [2, 2]], [0, 0])).alike == 0.05, "never none"
    parts = [Heard.of(sums_of([[4, 0], [1, 3]], [0, 1])), Heard.of(sums_of([[2, 2], [0, 4]], [0, 1]))]
    whole = Heard.of(sums_of([[4, 0], [1, 3], [2, 2], [0, 4]], [0, 1, 0, 1]))
    assert (parts[0] + parts[1]).alike == pytest.approx(whole.alike)
    assert whole.said.tolist() == [[6, 2], [1, 7]]


def test_how_many_trusted_samples_it_takes() -> None:
    said = np.diag([10.0, 10, 0])
    assert short_of(np.diag([5.0, 5, 0]), said) is None, "of classes that are given"
    assert short_of(np.diag([5.0, 4, 9]), said) == 1


@pytest.mark.parametrize("seed", range(40))
def test_a_student_that_says_one_class_tells_nothing(seed: int) -> None:
    """Of any sizes of classes: shares of samples, none below 0 by rounding, and an interval from end to end."""
    draw = np.random.default_rng(seed)
    classes = int(draw.integers(2, 6))
    given = draw.multinomial(500, draw.dirichlet(np.ones(classes))).astype(np.float64)
    said, known = np.zeros((classes, classes)), np.zeros((classes, classes))
    said[:, 1], known[:, 1] = given, draw.choice([5, 6, 40], size=classes)
    found = found_by(heard_of(said), known, 500)
    assert found.joint.min() >= 0
    np.testing.assert_allclose(found.joint.sum(axis=1), given / 500, atol=1e-12)
    assert found.low == 0
    assert found.high > 0.9


def test_wrong_labels_are_never_more_than_the_given_ones() -> None:
    """Right ones are not below 0, by as little as rounding makes of ⅓ + ⅓ + ⅓."""
    for seed in range(200):
        N = np.random.default_rng(seed).dirichlet(np.ones(25)).reshape(5, 5)
        found = scaled(N, 1e3)
        assert found.min() == 0
        np.testing.assert_allclose(found.sum(axis=1), N.sum(axis=1), rtol=1e-12)
