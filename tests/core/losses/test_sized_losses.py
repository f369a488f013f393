"""Losses that go by class sizes: values by hand, their limits, and what a mentor's doubt makes of sizes."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch.nn import functional

from ray_mentor import CurriculumConfig, UserError
from ray_mentor.core.epoch import EpochEnd
from ray_mentor.core.losses import ClassBalanced, cross_entropy, make_loss, reweighted
from ray_mentor.core.losses.by_size.logit_adjusted import LogitAdjusted
from ray_mentor.core.losses.by_size.sized import BySize, effective_factors
from ray_mentor.core.methods.table import check_one_loss, named_loss_of

SIZES = [90, 9, 1]
LOGITS = torch.tensor([[0.3, -1.0, 0.5], [2.0, 0.0, 1.0], [-0.5, 0.25, 0.75]], dtype=torch.float64)
LABELS = torch.tensor([0, 1, 2])


def end_at(progress: float, shares: list[float]) -> EpochEnd:
    known = torch.tensor(shares, dtype=torch.float64)
    return EpochEnd(1, progress, predicted=lambda: torch.zeros(3, 4), class_shares=lambda: known)


def sized(text: str) -> BySize:
    loss = make_loss(text, class_sizes=SIZES)
    assert isinstance(loss, BySize)
    return loss


def test_logit_adjustment_is_balanced_softmax() -> None:
    found = sized("logit-adjusted")(LOGITS, LABELS)
    weighted = torch.tensor(SIZES) * LOGITS.exp()
    balanced = -(weighted[torch.arange(3), LABELS] / weighted.sum(1)).log()
    torch.testing.assert_close(found, balanced, rtol=1e-12, atol=0)
    torch.testing.assert_close(sized("logit-adjusted:0")(LOGITS, LABELS), cross_entropy(LOGITS, LABELS))


def test_its_minimum_is_the_posterior_of_classes_of_equal_size() -> None:
    """Of one input, whose labels are drawn at 90:9:1 by size alone, the best logits are all the same."""
    z = torch.zeros(1, 3, dtype=torch.float64, requires_grad=True)
    loss = sized("logit-adjusted")
    labels = torch.repeat_interleave(torch.arange(3), torch.tensor(SIZES))
    (slope,) = torch.autograd.grad(loss(z.expand(100, 3), labels).sum(), z)
    assert slope.abs().max() < 1e-12


def test_margins_by_hand() -> None:
    found = sized("ldam:2")(LOGITS, LABELS)
    margins = [2 * 90**-0.25, 2 * 9**-0.25, 2.0]
    for row, (label, margin) in enumerate(zip(LABELS.tolist(), margins, strict=True)):
        z = LOGITS[row].clone()
        z[label] -= margin
        assert found[row].item() == pytest.approx(-functional.log_softmax(z, 0)[label].item(), rel=1e-12)


@pytest.mark.parametrize("beta", [0.9, 0.9999])
def test_factors_are_those_of_the_effective_number_and_one_in_the_mean_over_samples(beta: float) -> None:
    factors = effective_factors(torch.tensor(SIZES, dtype=torch.float64), beta).numpy()
    published = (1 - beta) / (1 - beta ** np.array(SIZES))
    np.testing.assert_allclose(factors / factors[0], published / published[0], rtol=1e-9)
    assert (factors * SIZES).sum() == pytest.approx(100)


def test_limits_of_beta() -> None:
    sizes = torch.tensor(SIZES, dtype=torch.float64)
    torch.testing.assert_close(effective_factors(sizes, 1.0) * sizes, torch.full((3,), 100 / 3, dtype=torch.float64))
    torch.testing.assert_close(effective_factors(sizes, 1 - 1e-9), effective_factors(sizes, 1.0), rtol=1e-5, atol=0)
    assert (effective_factors(sizes, 0.0) == 1).all()


def test_trusted_samples_count_and_what_a_mentor_doubts_counts_less() -> None:
    loss = LogitAdjusted(trust=1.0)
    loss.take_sizes(SIZES, [5, 5, 5])
    assert loss.sizes.tolist() == [95, 14, 6]
    loss.at_epoch(end_at(0.1, [1.1, math.nan, 0.25]))
    assert loss.sizes.tolist() == pytest.approx([104, 14, 5.25])
    loss.take_sizes([90, 9, 0], [0, 0, 0])
    loss.at_epoch(end_at(0.1, [1.0, 1e-9, 1.0]))
    assert loss.sizes.tolist() == [90, 1, 1], "no class counts as less than a sample"
    published = LogitAdjusted()
    published.take_sizes(SIZES)
    published.at_epoch(end_at(0.5, [2.0, 2.0, 0.1]))
    assert published.state is None, "given labels are what they are"


def test_deferred_factors_wait_for_the_last_phase() -> None:
    loss = reweighted(make_loss("ldam:2", SIZES), "drw", "ldam:2")
    assert isinstance(loss, ClassBalanced)
    loss.take_sizes(SIZES)
    plain = sized("ldam:2")(LOGITS, LABELS)
    for progress in (0.0, 0.5, 0.79):
        loss.at_epoch(end_at(progress, [1.0] * 3))
        torch.testing.assert_close(loss(LOGITS, LABELS), plain)
    loss.at_epoch(end_at(0.8, [1.0] * 3))
    factors = effective_factors(torch.tensor(SIZES, dtype=torch.float64), 0.9999)
    torch.testing.assert_close(loss(LOGITS, LABELS), factors * plain)
    assert loss.could_be(loss.sizes, 3)
    assert not loss.could_be(loss.sizes, 4)
    assert not loss.could_be(-loss.sizes, 3)


def test_what_goes_together() -> None:
    named = named_loss_of(CurriculumConfig(loss="gce", reweight="class-balanced"))
    assert isinstance(named, ClassBalanced)
    with pytest.raises(UserError, match="reweight is 'drw', but the loss class-balanced has factors of its own"):
        named_loss_of(CurriculumConfig(loss="class-balanced", reweight="drw"))
    with pytest.raises(UserError, match="reweight is 'drw', but the loss elr knows more of a sample than its label"):
        named_loss_of(CurriculumConfig(loss="elr", reweight="drw"))
    with pytest.raises(UserError, match="reweight is 'drw', but a loss of your own was given"):
        check_one_loss(CurriculumConfig(reweight="drw"), cross_entropy)
    with pytest.raises(UserError, match="unknown reweight 'dwr'; valid: none, class-balanced, drw"):
        CurriculumConfig(reweight="dwr")


@pytest.mark.parametrize("name", ["logit-adjusted", "class-balanced", "ldam"])
def test_sizes_must_be_known(name: str) -> None:
    with pytest.raises(UserError) as raised:
        make_loss(name)(LOGITS, LABELS)
    assert str(raised.value) == (
        f"the loss {name} goes by how many training samples each class has, but nobody says; give "
        f"make_loss({name!r}, class_sizes=[...])"
    )


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("logit-adjusted:-1", "tau of the loss logit-adjusted is -1, but it must be at least 0"),
        ("logit-adjusted:1:2", r"trust of the loss logit-adjusted is 2, but it must be in \[0, 1\]"),
        ("class-balanced:1.1", r"beta of the loss class-balanced is 1.1, but it must be in \[0, 1\]"),
        ("class-balanced:1:0:0:1", "class-balanced takes beta:trust:start"),
        ("ldam:inf", "margin of the loss ldam is inf, but it must be at least 0"),
    ],
)
def test_numbers_that_are_refused(text: str, says: str) -> None:
    with pytest.raises(UserError, match=says):
        make_loss(text)
