"""ODM's, DoGE's and DoReMi's updates by values that were worked out by hand, and what they go by."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from ray_mentor import MixtureConfig
from ray_mentor.core.batch import Batch, MetaBatch
from ray_mentor.core.domains.influences import Target
from ray_mentor.core.domains.measures import Alignment, Excess
from ray_mentor.core.domains.rules import shares_of
from ray_mentor.core.domains.shares import AbstractShares, DomainInfluence
from ray_mentor.core.exchange import Alone
from ray_mentor.core.influence.taken_step import TakenStep, dense_gradient_of, remember
from ray_mentor.core.losses.cross_entropy import sequence_cross_entropy


def rule(kind: str, n: int = 2, **settings: Any) -> AbstractShares:
    return shares_of("abcd"[:n], [10] * n, MixtureConfig(mixture=kind, prior="uniform", shares_interval=8, **settings))


def figures(*values: float) -> DomainInfluence:
    mean = np.array(values)
    return DomainInfluence(mean, np.zeros(len(mean)), np.where(np.isnan(mean), 0, 4), 1.0)


def test_odm_by_hand() -> None:
    """R = (0.2, 0.4) and ε = √(ln 2/16); then the first is absent: R = (0.2, 0.9·0.4 + 0.1·8), ε = √(ln 2/32)."""
    odm = rule("odm")
    assert odm.update(figures(math.log(2), math.log(4))) is None
    explored = math.sqrt(math.log(2) / 16)
    assert odm.shares.tolist() == pytest.approx(
        [(1 - 2 * explored) / 3 + explored, (1 - 2 * explored) * 2 / 3 + explored]
    )
    odm.update(figures(math.nan, math.log(8)))
    explored = math.sqrt(math.log(2) / 32)
    assert odm.shares[0] == pytest.approx((1 - 2 * explored) * 0.2 / 1.36 + explored)


def test_odm_is_uniform_as_long_as_it_explores() -> None:
    """ε = 1/K while √(ln K/(K·t)) is above it."""
    odm = shares_of("abcd", [1, 2, 3, 4], MixtureConfig(mixture="odm", shares_interval=1))
    odm.update(figures(0.0, 1.0, 2.0, 3.0))
    assert odm.shares.tolist() == pytest.approx([0.25] * 4)


def test_doge_by_hand() -> None:
    """Scores 0.03, 0 (harm counts as nothing) and 0 (absent), each by 20: the first grows by e^0.6 beside them."""
    doge = rule("doge", 3)
    doge.update(figures(-0.03, 0.4, math.nan))
    grown = math.exp(0.6)
    assert doge.shares.tolist() == pytest.approx([grown / (grown + 2), 1 / (grown + 2), 1 / (grown + 2)])
    slower = rule("doge", 3, shares_rate=2.0)
    slower.update(figures(-0.03, 0.4, math.nan))
    assert slower.shares[0] / slower.shares[1] == pytest.approx(math.exp(0.06))


def test_doremi_by_hand() -> None:
    """e^0.5 : 1 : e^1, smoothed by a thousandth."""
    doremi = rule("doremi", 3)
    doremi.update(figures(0.5, 0.0, 1.0))
    grown = np.exp([0.5, 0.0, 1.0])
    assert doremi.shares.tolist() == pytest.approx((0.999 * grown / grown.sum() + 0.001 / 3).tolist())


@pytest.mark.parametrize("kind", ["odm", "doge", "doremi"])
def test_figures_that_are_none_are_skipped(kind: str) -> None:
    one = rule(kind)
    one.update(figures(math.inf, 0.0))
    assert (one.updates, one.skipped, one.shares.tolist()) == (0, 1, [0.5, 0.5])


@pytest.mark.parametrize(("kind", "worst"), [("odm", 1e6), ("doge", -1e6), ("doremi", 1e6)])
def test_shares_stay_shares_whatever_comes(kind: str, worst: float) -> None:
    one = rule(kind)
    for _ in range(50):
        one.update(figures(worst, 0.0))
    assert one.shares.sum() == pytest.approx(1)
    assert (one.shares > 0).all()


class Point(nn.Module):
    """θ less what it is shown."""

    def __init__(self) -> None:
        super().__init__()
        self.theta = nn.Parameter(torch.tensor([1.0, 2.0], dtype=torch.float64))

    def forward(self, centres: Tensor) -> Tensor:
        return self.theta - centres


def half_square(away: Tensor, _: Tensor) -> Tensor:
    return 0.5 * (away**2).sum(dim=1)


def stepped(model: nn.Module, inputs: Tensor, labels: Tensor, rate: float) -> TakenStep:
    """A step of no gradient, so that the params stay where they are."""
    optimizer = torch.optim.SGD(model.parameters(), rate)
    before = remember(model, (optimizer,), whole_optimizer=False)
    for param in model.parameters():
        param.grad = torch.zeros_like(param)
    optimizer.step()
    batch = Batch(torch.arange(len(labels)), torch.arange(len(labels)), inputs, labels)
    loss, weights = half_square, torch.zeros(len(labels))
    return TakenStep(model, (optimizer,), loss, loss, batch, weights, before, dense_gradient_of(model))


def test_alignment_is_the_gradients_inner_product_over_their_mean_length() -> None:
    """θ = (1, 2), target (1, 1): ∇M = (0, 1). Means of the centres (1, −1), (−2, 6): ∇L = (0, 3), (3, −4)."""
    centres = torch.tensor([[0.0, -1.0], [-2.0, 6.0], [2.0, -1.0]], dtype=torch.float64)
    taken = stepped(Point(), centres, torch.zeros(3), rate=0.25)
    target = [Target(MetaBatch(torch.ones(1, 2, dtype=torch.float64), torch.zeros(1), 1), 1.0)]
    found, loss = Alignment(half_square, Alone())(taken, target, np.array([0, 1, 0]), np.ones(3) / 3)
    assert found.mean[:2].tolist() == pytest.approx([-0.25 * 3 / 4, -0.25 * -4 / 4], rel=1e-6)
    assert np.isnan(found.mean[2])
    assert found.count.tolist() == [2, 1, 0]
    assert loss == pytest.approx(0.5)
    far = [Target(MetaBatch(torch.full((1, 2), -900.0, dtype=torch.float64), torch.zeros(1), 1), 1.0)]
    cut, _ = Alignment(half_square, Alone())(taken, far, np.array([0, 1, 0]), np.ones(3) / 3)
    assert cut.mean[0] == pytest.approx(-0.25 * 5)


class Says(nn.Module):
    """The same logits at every place, whatever it is shown."""

    def __init__(self, *logits: float) -> None:
        super().__init__()
        self.logits = nn.Parameter(torch.tensor(logits, dtype=torch.float64))

    def forward(self, inputs: Tensor) -> Tensor:
        return self.logits.expand(*inputs.shape, len(self.logits))


def test_what_is_above_a_reference_is_cut_at_0_place_by_place() -> None:
    """Losses ln 4 or ln (4/3) beside ln 2: ln 2 above where the label is 0, nothing where it is 1."""
    model, reference = Says(0.0, math.log(3)), Says(0.0, 0.0)
    inputs, labels = torch.zeros(3, 4), torch.tensor([[0, 0, 0, 1], [1, 1, 1, 1], [0, 1, -100, -100]])
    taken = stepped(model, inputs, labels, rate=0.1)
    found, _ = Excess(reference, sequence_cross_entropy, Alone())(taken, [], np.array([0, 1, 1]), np.ones(2) / 2)
    above = math.log(2)
    assert found.mean.tolist() == pytest.approx([0.75 * above, 0.25 * above])


def test_of_a_loss_of_ones_own_it_is_cut_sample_by_sample() -> None:
    model, reference = Point(), Point()
    with torch.no_grad():
        reference.theta.zero_()
    centres = torch.tensor([[1.0, 1.0], [0.0, 0.0]], dtype=torch.float64)
    taken = stepped(model, centres, torch.zeros(2), rate=0.1)
    found, _ = Excess(reference, half_square, Alone())(taken, [], np.array([0, 1]), np.ones(2) / 2)
    assert found.mean.tolist() == pytest.approx([0.0, 2.5])
