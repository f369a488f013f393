"""The parts of a learnt learning rate: the trace of steps, the number that is learnt, the way back."""

from __future__ import annotations

import itertools
import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from ray_mentor.core.learned_rate.log_factor import BOUND, LogFactor
from ray_mentor.core.learned_rate.snapshot import Snapshot
from ray_mentor.core.learned_rate.trace import Trace

OPTIMIZERS: dict[str, Any] = {
    "sgd": lambda params, lr: torch.optim.SGD(params, lr=lr),
    "nesterov": lambda params, lr: torch.optim.SGD(params, lr=lr, momentum=0.9, nesterov=True),
    "adam": lambda params, lr: torch.optim.Adam(params, lr=lr),
}


def student() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, 3)).double()


def walk(net: nn.Module, optimizer: torch.optim.Optimizer, steps: int, trace: Trace | None = None) -> list[Tensor]:
    """Steps along gradients that do not depend on the params; the params after each."""
    draw = torch.Generator().manual_seed(1)
    places = []
    for _ in range(steps):
        for param in net.parameters():
            param.grad = torch.randn(param.shape, generator=draw, dtype=param.dtype)
        if trace is not None:
            trace.before_step()
        optimizer.step()
        places.append(nn.utils.parameters_to_vector(net.parameters()).detach().clone())
    return places


@pytest.mark.parametrize("decay", [0.0, 0.9, 1.0])
@pytest.mark.parametrize("kind", OPTIMIZERS)
def test_the_trace_is_the_decayed_sum_of_the_steps(kind: str, decay: float) -> None:
    net = student()
    first = nn.utils.parameters_to_vector(net.parameters()).detach().clone()
    trace = Trace(net, decay)
    places = [first, *walk(net, OPTIMIZERS[kind](net.parameters(), 0.1), 7, trace)]
    steps = [after - before for before, after in itertools.pairwise(places)]
    whole = sum(decay ** (6 - k) * step for k, step in enumerate(steps))
    gradient = {name: torch.randn_like(param) for name, param in net.named_parameters()}
    flat = torch.cat([each.reshape(-1) for each in gradient.values()])
    assert trace.slope(gradient) == pytest.approx(float(flat @ whole), rel=1e-11)


@pytest.mark.parametrize("kind", OPTIMIZERS)
def test_where_gradients_stand_still_the_slope_is_that_of_real_steps_at_other_rates(kind: str) -> None:
    """∂M/∂a of seven steps at rates e^a·0.1, by differences: without the Hessian's part, which is 0 here."""

    def loss(net: nn.Module) -> Tensor:
        return torch.sin(nn.utils.parameters_to_vector(net.parameters())).sum()

    def at(a: float) -> float:
        net = student()
        walk(net, OPTIMIZERS[kind](net.parameters(), 0.1 * math.exp(a)), 7)
        return float(loss(net).detach())

    net = student()
    trace = Trace(net, 1.0)
    walk(net, OPTIMIZERS[kind](net.parameters(), 0.1), 7, trace)
    slopes = torch.autograd.grad(loss(net), list(net.parameters()))
    gradient = dict(zip(dict(net.named_parameters()), slopes, strict=True))
    h = 1e-4
    truth = (8 * (at(h) - at(-h)) - (at(2 * h) - at(-2 * h))) / (12 * h)
    assert trace.slope(gradient) == pytest.approx(truth, rel=1e-9)


def test_a_param_that_is_frozen_has_no_trace() -> None:
    net = student()
    next(net.parameters()).requires_grad_(False)
    assert set(Trace(net, 0.9).average) == set(dict(net.named_parameters())) - {"0.weight"}


def test_the_factor_climbs_from_a_thousandth_until_two_slopes_in_a_row_are_above_0() -> None:
    factor = LogFactor(most=0.1)
    assert math.exp(factor.value) == pytest.approx(1e-3)
    for slope in (-5.0, -1e-9, 2.0, -3.0):  # one alone may be a batch's
        factor.step(slope)
    assert math.exp(factor.value) == pytest.approx(8e-3)
    factor.step(1e-12)
    assert (math.exp(factor.value), factor.climbs) == (pytest.approx(8e-3), True)
    factor.step(3.0)
    assert (math.exp(factor.value), factor.climbs) == (pytest.approx(4e-3), False)
    factor.step(-1.0)
    assert factor.value == pytest.approx(math.log(4e-3) + 0.1), "then no step is longer than that"


def test_then_it_takes_adams_steps() -> None:
    slopes = [0.5, -2.0, 0.3, 1.5]
    factor = LogFactor(most=0.1, value=0.0, climbs=False)
    param = torch.zeros((), dtype=torch.float64, requires_grad=True)
    adam = torch.optim.Adam([param], lr=0.1, betas=(0.9, 0.9), eps=0.0)
    for slope in slopes:
        factor.step(slope)
        param.grad = torch.tensor(slope, dtype=torch.float64)
        adam.step()
        assert factor.value == pytest.approx(float(param.detach()), abs=1e-14)


@pytest.mark.parametrize("slope", [math.nan, math.inf, -math.inf, 0.0])
def test_a_slope_that_is_not_finite_or_none_says_nothing(slope: float) -> None:
    factor = LogFactor(most=0.1)
    before = factor.state()
    factor.step(slope)
    assert factor.state() == before


def test_it_stays_within_its_bounds() -> None:
    factor = LogFactor(most=100.0, value=0.0, climbs=False)
    factor.step(-1.0)
    assert factor.value == BOUND
    for _ in range(60):
        factor.halve()
    assert factor.value == -BOUND


def test_slopes_of_any_size_move_it_alike() -> None:
    found = []
    for unit in (1e-12, 1.0, 1e12):
        factor = LogFactor(most=0.1, value=0.0, climbs=False)
        for slope in (1.0, -0.5, 2.0):
            factor.step(unit * slope)
        found.append(factor.value)
    assert found == pytest.approx([found[0]] * 3, rel=1e-12)


@pytest.mark.parametrize("kind", OPTIMIZERS)
def test_the_way_back_leads_to_params_buffers_and_what_the_optimizer_remembers(kind: str) -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(4, 5), nn.BatchNorm1d(5), nn.Linear(5, 3))
    optimizer = OPTIMIZERS[kind](net.parameters(), 0.1)
    walk(net, optimizer, 3)
    average = {"weight": torch.ones(2)}
    snapshot = Snapshot(net, [optimizer], average)
    average["weight"].fill_(torch.nan)
    once = walk(net, optimizer, 2)
    net[1].running_mean.add_(1.0)
    optimizer.param_groups[0]["lr"] = 0.1 + 1e-16
    snapshot.put_back()
    assert float(net[1].running_mean.abs().max()) == 0
    assert torch.equal(average["weight"], torch.ones(2)), "what follows the student, too"
    again = walk(net, optimizer, 2)
    assert all(torch.equal(one, other) for one, other in zip(once, again, strict=True)), "as often as it is asked"
    snapshot.put_back()
    optimizer.param_groups[0]["lr"] = 0.05
    snapshot.put_back()
    assert optimizer.param_groups[0]["lr"] == 0.05, "the settings are the schedule's"
