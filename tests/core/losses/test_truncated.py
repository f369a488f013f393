"""Truncated generalised cross-entropy: hand-computed values, what it is with nothing left out, and when it begins."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from ray_mentor.core.epoch import EpochEnd
from ray_mentor.core.losses import make_loss
from ray_mentor.core.losses.gce import TruncatedGCE

P_Y = (0.7, 0.51, 0.5, 0.05)
LOGITS = torch.tensor([[math.log(p), math.log(1 - p)] for p in P_Y], dtype=torch.float64)
LABELS = torch.zeros(4, dtype=torch.long)


def begun(q: float = 0.7, k: float = 0.5) -> TruncatedGCE:
    loss = TruncatedGCE(q, k)
    loss.state = torch.ones((), dtype=torch.float64)
    return loss


def found(loss: TruncatedGCE, trusted: Tensor | None = None) -> tuple[Tensor, Tensor]:
    logits = LOGITS.clone().requires_grad_()
    losses = loss(logits, LABELS, trusted)
    return losses.detach(), torch.autograd.grad(losses.sum(), logits)[0]


def test_values_and_slopes_by_hand() -> None:
    """What the student gives k or less is worth L_q(k), and has no slope; ∂L_q/∂z_y = −p^q(1 − p)."""
    losses, slopes = found(begun())
    expected = [(1 - max(p, 0.5) ** 0.7) / 0.7 for p in P_Y]
    torch.testing.assert_close(losses, torch.tensor(expected, dtype=torch.float64), rtol=1e-12, atol=1e-12)
    by_hand = [-(p**0.7) * (1 - p) if p > 0.5 else 0.0 for p in P_Y]
    torch.testing.assert_close(slopes[:, 0], torch.tensor(by_hand, dtype=torch.float64), rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(slopes[:, 1], -slopes[:, 0], rtol=1e-12, atol=1e-12)


def test_published_weights_times_losses_have_the_same_slope() -> None:
    """Σ v_i·(L_q(p_i) − L_q(k)) with v_i = 1[L_q(p_i) < L_q(k)], as the authors' code has it."""
    logits = LOGITS.clone().requires_grad_()
    p = torch.softmax(logits, dim=1)[:, 0]
    losses, bound = (1 - p**0.7) / 0.7, (1 - 0.5**0.7) / 0.7
    v = (losses.detach() < bound - 1e-12).double()
    (slope,) = torch.autograd.grad((v * (losses - bound)).sum(), logits)
    torch.testing.assert_close(found(begun())[1], slope, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(
    ("loss", "other"), [(begun(k=0.0), "gce"), (TruncatedGCE(), "gce"), (begun(q=0.0, k=0.0), "cross-entropy")]
)
def test_with_nothing_left_out_it_is_gce(loss: TruncatedGCE, other: str) -> None:
    """With k = 0, or before it begins."""
    logits = LOGITS.clone().requires_grad_()
    losses = make_loss(other)(logits, LABELS)
    known = losses.detach(), torch.autograd.grad(losses.sum(), logits)[0]
    for value, expected in zip(found(loss), known, strict=True):
        torch.testing.assert_close(value, expected, rtol=0, atol=0)


def test_with_k_next_to_0_none_is_left_out() -> None:
    for value, expected in zip(found(begun(k=1e-9)), found(begun(k=0.0)), strict=True):
        torch.testing.assert_close(value, expected, rtol=0, atol=0)


def test_trusted_samples_always_count() -> None:
    losses, slopes = found(begun(), torch.tensor([False, False, False, True]))
    assert float(losses[3]) == pytest.approx((1 - 0.05**0.7) / 0.7)
    assert float(slopes[3, 0]) == pytest.approx(-(0.05**0.7) * 0.95)
    assert float(slopes[2, 0]) == 0


@pytest.mark.parametrize(("start", "first"), [(1 / 3, 20), (0.0, 1), (1.0, 60)])
def test_it_begins_with_the_epoch_after_a_share_of_training(start: float, first: int) -> None:
    loss = TruncatedGCE(start=start)
    for done in range(1, 61):
        loss.at_epoch(EpochEnd(done, done / 60, lambda: torch.zeros(0)))
        assert (loss.state is not None) == (done >= first)
    assert loss.could_be(torch.ones((), dtype=torch.float64), 10)
    assert not loss.could_be(torch.zeros((), dtype=torch.float64), 10)
    assert not loss.could_be(torch.ones(2, dtype=torch.float64), 10)
