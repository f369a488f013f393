"""What a mentor sees of a batch: losses against the running percentile, in nats or in units of their own."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tiny_run import batch_of
from torch import Tensor

from ray_mentor.core.exchange import Alone
from ray_mentor.core.history.table import LossHistory
from ray_mentor.core.step.observation import Observation, observe
from ray_mentor.core.step.percentile import RunningPercentile
from ray_mentor.core.step.units import RunningUnits, Units

TRUSTED = torch.tensor([False, True, False, True, False])


def seen(
    losses: Tensor,
    percentile: RunningPercentile,
    trusted: Tensor | None = TRUSTED,
    units: RunningUnits | None = None,
    history: LossHistory | None = None,
) -> Observation:
    batch = dataclasses.replace(batch_of(), trusted=trusted)
    return observe(batch, losses, Alone(), percentile, history or LossHistory(20, 0), 0.0, units)


def test_the_percentile_is_of_the_samples_that_are_not_trusted() -> None:
    """Trusted samples that the student knows by heart would pull it down, and all others would look worse."""
    percentile = RunningPercentile(0.5, 0.9)
    first = torch.tensor([1.0, 100.0, 2.0, 300.0, 6.0])
    observed = seen(first, percentile)
    assert percentile.value == 2.0
    torch.testing.assert_close(observed.features.loss_difference, first - 2.0)
    second = torch.tensor([3.0, 0.0, 4.0, 0.0, 5.0])
    observed = seen(second, percentile)
    assert percentile.value == pytest.approx(0.9 * 2.0 + 0.1 * 4.0)
    torch.testing.assert_close(observed.features.loss_difference, second - 2.2)


@pytest.mark.parametrize("trusted", [None, TRUSTED])
def test_losses_that_require_a_gradient_are_taken_without_it(trusted: Tensor | None) -> None:
    losses = torch.tensor([1.0, 100.0, 2.0, 300.0, 6.0])
    for each in (losses, losses.clone().requires_grad_()):
        observed = seen(each, RunningPercentile(0.5, 0.9), trusted)
        assert not observed.features.loss_difference.requires_grad
        assert observed.features.loss_difference.tolist() == (losses - (6.0 if trusted is None else 2.0)).tolist()


def test_a_batch_of_trusted_samples_moves_no_percentile() -> None:
    percentile = RunningPercentile(0.5, 0.9)
    units = RunningUnits(0.9)
    seen(torch.ones(5), percentile, torch.ones(5, dtype=torch.bool), units)
    assert percentile.value is None
    assert units.value is None
    seen(torch.full((5,), 3.0), percentile, None, units)
    seen(torch.ones(5), percentile, torch.ones(5, dtype=torch.bool), units)
    assert percentile.value == 3.0
    assert units.value == Units(3.0, 0.0)


def test_losses_in_nats_are_shown_as_they_are() -> None:
    observed = seen(torch.tensor([1.0, 2.0, 3.0, 4.0, 5.0]), RunningPercentile(0.5, 0.9))
    assert observed.shown is observed.features


def test_units_are_running_means_over_the_samples_that_are_not_trusted() -> None:
    percentile, units, history = RunningPercentile(0.5, 0.5), RunningUnits(0.75), LossHistory(20, 1)
    seen(
        torch.tensor([-2.0, 70.0, 4.0, 70.0, 6.0]), percentile, units=units, history=history
    )  # |ℓ|: 4, q: 4, |ℓ − q|: 8/3
    assert units.value == Units(4.0, pytest.approx(8 / 3))
    second = torch.tensor([8.0, 0.0, 2.0, 0.0, 20.0])  # |ℓ|: 10, q: 4/2 + 8/2 = 6, |ℓ − q|: 20/3
    observed = seen(second, percentile, units=units, history=history)
    level, spread = 0.75 * 4 + 0.25 * 10, 0.75 * 8 / 3 + 0.25 * 20 / 3
    assert units.value == Units(pytest.approx(level), pytest.approx(spread))
    torch.testing.assert_close(observed.shown.loss, second / level)
    torch.testing.assert_close(observed.shown.loss_difference, (second - 6) / spread)
    torch.testing.assert_close(observed.shown.history[:, 0], torch.tensor([-2.0, 70.0, 4.0, 70.0, 6.0]) / level)
    assert torch.equal(observed.features.loss, second), "what is taken down is the loss"


def test_losses_that_are_all_0_or_all_alike_are_shown_as_they_are() -> None:
    for value in (0.0, 7.0):
        shown = seen(torch.full((5,), value), RunningPercentile(0.5, 0.9), units=RunningUnits(0.9)).shown
        assert (shown.loss == (1.0 if value else 0.0)).all()
        assert (shown.loss_difference == 0).all()
    nearly = 7 + 1e-7 * torch.arange(5, dtype=torch.float64)
    assert seen(nearly, RunningPercentile(0.5, 0.9), units=RunningUnits(0.9)).shown.loss_difference.abs().max() < 1e-6


@given(st.lists(st.floats(-5, 5, width=32), min_size=5, max_size=5), st.sampled_from([2.0**-12, 2.0**12]))
def test_a_loss_that_is_larger_as_a_whole_is_shown_the_same(values: list[float], scale: float) -> None:
    losses = torch.tensor(values, dtype=torch.float64)
    plain, scaled = (RunningPercentile(0.6, 0.9) for _ in range(2))
    units, others = RunningUnits(0.9), RunningUnits(0.9)
    for more in range(3):
        one = seen((more + 1) * losses, plain, None, units).shown
        other = seen(scale * (more + 1) * losses, scaled, None, others).shown
        for name in ("loss", "loss_difference"):
            torch.testing.assert_close(getattr(one, name), getattr(other, name))
