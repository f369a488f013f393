"""The mixture of two Gaussians, against scikit-learn's."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import torch
from sklearn.exceptions import ConvergenceWarning
from sklearn.mixture import GaussianMixture
from torch import Tensor

from ray_mentor.core.mixture import LEAST_VARIANCE, NUMBERS, ROUNDS, TOLERANCE, Mixture, fitted


def losses(seed: int, wrong: float = 0.4, n: int = 600, apart: float = 1.0) -> Tensor:
    """Of right labels small, of wrong ones large, as a student that has not learnt them by heart gives them."""
    draw = np.random.default_rng(seed)
    is_wrong = draw.random(n) < wrong
    values = np.where(is_wrong, draw.normal(1 + 2 * apart, 0.5, n), draw.exponential(0.4, n))
    return torch.from_numpy(np.abs(values))


def theirs(x: np.ndarray, like: Mixture | None = None) -> GaussianMixture:
    """As DivideMix calls it; or begun where ours began."""
    start = {}
    if like is not None:
        start = {
            "weights_init": np.array(like.shares),
            "means_init": np.array(like.means)[:, None],
            "precisions_init": 1 / np.array(like.variances)[:, None, None],
        }
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # ten rounds are what is asked for
        return GaussianMixture(
            2, max_iter=ROUNDS, tol=TOLERANCE, reg_covar=LEAST_VARIANCE, random_state=0, **start
        ).fit(x[:, None])


def normalised(values: Tensor) -> np.ndarray:
    return ((values - values.min()) / (values.max() - values.min())).numpy()


def start_of(x: np.ndarray) -> Mixture:
    """Shares, means and variances of the two halves with the least squares within, by trying all."""
    ordered = np.sort(x)
    squares = [ordered[:k].var() * k + ordered[k:].var() * (len(x) - k) for k in range(1, len(x))]
    k = 1 + int(np.argmin(squares))
    halves = ordered[:k], ordered[k:]
    low, high = ((len(half) / len(x), half.mean(), half.var() + LEAST_VARIANCE) for half in halves)
    return Mixture(*zip(low, high, strict=True), 0.0, 1.0)  # type: ignore[arg-type]


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("wrong", [0.1, 0.4, 0.8])
@pytest.mark.parametrize("apart", [0.2, 1.0])
def test_from_the_same_start_it_is_scikit_learns(seed: int, wrong: float, apart: float) -> None:
    values = losses(seed, wrong, apart=apart)
    x, found = normalised(values), fitted(values)
    assert found is not None
    model = theirs(x, start_of(x))
    order = model.means_[:, 0].argsort()
    np.testing.assert_allclose(found.shares, model.weights_[order], rtol=1e-9)
    np.testing.assert_allclose(found.means, model.means_[order, 0], rtol=1e-9)
    np.testing.assert_allclose(found.variances, model.covariances_[order, 0, 0], rtol=1e-9)
    expected = model.predict_proba(x[:, None])[:, order[0]]
    np.testing.assert_allclose(found.low_component(values).numpy(), expected, rtol=1e-8, atol=1e-12)


@pytest.mark.parametrize("seed", range(4))
def test_begun_as_the_authors_begin_it_believes_the_same(seed: int) -> None:
    """k-means of a random start finds the two halves, too, where there are two."""
    values = losses(seed)
    x, found = normalised(values), fitted(values)
    assert found is not None
    model = theirs(x)
    expected = model.predict_proba(x[:, None])[:, model.means_[:, 0].argmin()]
    np.testing.assert_allclose(found.low_component(values).numpy(), expected, atol=0.01)
    assert ((found.low_component(values).numpy() > 0.5) == (expected > 0.5)).all()


def test_it_tells_right_labels_from_wrong_ones() -> None:
    found = fitted(torch.tensor([0.0, 0.1, 0.2, 0.1, 3.0, 3.1, 2.9]))
    assert found is not None
    assert (found.low_component(torch.tensor([0.05, 0.2, 2.8, 3.2])) > 0.5).tolist() == [True, True, False, False]


def test_what_is_not_known_is_left_out() -> None:
    values = losses(0)
    with_gaps = torch.cat([torch.tensor([torch.nan]), values, torch.tensor([torch.nan])])
    assert fitted(with_gaps) == fitted(values)


@pytest.mark.parametrize("values", [[], [1.0], [2.0, 2.0, 2.0], [torch.nan, 1.0]])
def test_where_there_are_no_two_kinds_there_is_none(values: list[float]) -> None:
    assert fitted(torch.tensor(values)) is None


def test_it_is_its_numbers() -> None:
    found = fitted(losses(1))
    assert found is not None
    assert len(found.numbers()) == NUMBERS
    assert Mixture.of_numbers(found.numbers()) == found


def test_the_order_of_the_samples_has_next_to_no_say() -> None:
    values = losses(2)
    one, other = fitted(values), fitted(values.flip(0))
    assert one is not None
    assert other is not None
    np.testing.assert_allclose(one.numbers(), other.numbers(), rtol=1e-10)
