"""S_d against autograd through the step itself, in float64; and what a horizon makes of an ill-conditioned problem."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from ray_mentor import MixtureConfig
from ray_mentor.core.batch import Batch, MetaBatch
from ray_mentor.core.domains.influences import DomainProbe, Target
from ray_mentor.core.exchange import Alone
from ray_mentor.core.influence.taken_step import TakenStep, dense_gradient_of, remember
from ray_mentor.core.losses.cross_entropy import sequence_cross_entropy
from ray_mentor.core.own_loop.learned_mixture import LearnedMixture

DOMAINS, EACH = 3, 4


def sgd(params: list[Tensor]) -> torch.optim.Optimizer:
    return torch.optim.SGD(params, 0.3, momentum=0.9, nesterov=True, weight_decay=0.01)


def adamw(params: list[Tensor]) -> torch.optim.Optimizer:
    return torch.optim.AdamW(params, 0.05, weight_decay=0.1)


def samples(seed: int, n: int) -> tuple[Tensor, Tensor]:
    draw = torch.Generator().manual_seed(seed)
    return torch.randn(n, 5, generator=draw, dtype=torch.float64), torch.randint(4, (n,), generator=draw)


def student() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(5, 6), nn.Tanh(), nn.Linear(6, 4)).double()


@pytest.mark.parametrize("optimizer", [sgd, adamw])
@pytest.mark.parametrize("steps_before", [0, 3])
def test_influence_of_a_domain_is_the_derivative_through_the_step(
    optimizer: Callable[[list[Tensor]], torch.optim.Optimizer], steps_before: int
) -> None:
    """∂M(θ'(p))/∂p_d, by central differences of real steps on the gradient g + ε·g_d."""
    model = student()
    own = optimizer(list(model.parameters()))
    inputs, labels = samples(1, 16)
    for _ in range(steps_before):
        own.zero_grad()
        sequence_cross_entropy(model(inputs), labels).mean().backward()
        own.step()
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    state = copy.deepcopy(own.state_dict())
    probes, probe_labels = samples(2, DOMAINS * EACH)
    domains = np.repeat(np.arange(DOMAINS), EACH)
    targets = [Target(MetaBatch(*samples(3, 10), 10), 0.25), Target(MetaBatch(*samples(4, 6), 6), 0.75)]

    remembered = remember(model, (own,), whole_optimizer=False)
    own.zero_grad()
    sequence_cross_entropy(model(inputs), labels).mean().backward()
    own.step()
    rows = torch.arange(len(probes))
    taken = TakenStep(
        model,
        (own,),
        sequence_cross_entropy,
        sequence_cross_entropy,
        Batch(rows, rows, probes, probe_labels),
        torch.zeros(len(probes), dtype=torch.float64),
        remembered,
        dense_gradient_of(model),
    )
    found, target_loss = DomainProbe(sequence_cross_entropy, Alone())(taken, targets, domains, np.ones(DOMAINS) / 3)

    def stepped(domain: int, by: float) -> float:
        again = student()
        again.load_state_dict(before)
        other = optimizer(list(again.parameters()))
        other.load_state_dict(copy.deepcopy(state))
        loss = sequence_cross_entropy(again(inputs), labels).mean()
        mine = torch.from_numpy(domains == domain)
        loss = loss + by * sequence_cross_entropy(again(probes[mine]), probe_labels[mine]).mean()
        other.zero_grad()
        loss.backward()
        other.step()
        with torch.no_grad():
            losses = [sequence_cross_entropy(again(t.batch.inputs), t.batch.labels).mean() * t.weight for t in targets]
            return float(torch.stack(losses).sum())

    assert target_loss == pytest.approx(stepped(0, 0.0), abs=1e-12)
    # the sign's derivative at AdamW's first step is a spike of width eps: there only what remains of it is compared
    width = 1e-5 if steps_before or optimizer is sgd else 1e-9
    slack = {"abs": 1e-9, "rel": 1e-6} if width == 1e-5 else {"abs": 1e-6, "rel": 1e-3}
    for domain in range(DOMAINS):
        by_steps = (stepped(domain, width) - stepped(domain, -width)) / (2 * width)
        assert found.mean[domain] == pytest.approx(by_steps, **slack)
    assert found.count.tolist() == [EACH] * DOMAINS
    assert (found.error > 0).all()


class Point(nn.Module):
    """θ, whatever it is shown."""

    def __init__(self) -> None:
        super().__init__()
        self.theta = nn.Parameter(torch.zeros(2, dtype=torch.float64))

    def forward(self, centres: Tensor) -> Tensor:
        return self.theta - centres


A = torch.tensor([1.0, 0.1], dtype=torch.float64)
CENTRES = torch.tensor([[0.0, 0.0], [3.0, 0.2], [0.5, 2.0]], dtype=torch.float64)
TARGET = torch.tensor([[2.0, 1.8]], dtype=torch.float64)


def quadratic(away: Tensor, _: Tensor) -> Tensor:
    """½(θ − c)ᵀA(θ − c)."""
    return 0.5 * (A * away**2).sum(dim=1)


def at_rest(horizon: int, steps: int) -> list[float]:
    """Shares that a mixture of the three domains ends at, small moves, no pull, no floor; the last third's mean."""
    point = Point()
    optimizer = torch.optim.SGD(point.parameters(), 0.5)
    sources = {name: (centre.repeat(200, 1), torch.zeros(200)) for name, centre in zip("abc", CENTRES, strict=True)}
    settings = MixtureConfig(
        prior="uniform",
        prior_pull=0.0,
        shares_rate=0.07,
        shares_interval=1,
        shares_burn_in=0.0,
        share_floor=0.0,
        influence_decay=0.0,
        probes=2,
        horizon=horizon,
    )
    mixture = LearnedMixture(
        point, optimizer, sources, target=(TARGET, torch.zeros(1)), total_steps=steps, settings=settings, loss=quadratic
    )
    shares = []
    for batch in mixture.batches(600):
        optimizer.zero_grad()
        mixture.weigh(quadratic(point(batch.inputs), batch.labels), batch).backward()
        optimizer.step()
        mixture.after_step()
        shares.append(list(mixture.shares.values()))
    return np.mean(shares[-(steps // 3) :], axis=0).tolist()  # type: ignore[no-any-return]


def where_influences_are_equal(horizon: int) -> float:
    """Share of the second domain, the first at 0, at which (c_b − c_c)ᵀ·A·Σ_j(I − ηA)^j·A·(θ(p) − t) = 0, j <= h."""
    metric = A**2 * sum((1 - 0.5 * A) ** j for j in range(horizon + 1))
    b, c = CENTRES[1], CENTRES[2]
    return float(((b - c) * metric * (TARGET[0] - c)).sum() / ((b - c) * metric * (b - c)).sum())


@pytest.mark.parametrize(("horizon", "share"), [(0, 0.597), (10, 0.589), (200, 0.576)])
def test_the_fixed_point_moves_to_the_optimum_with_the_horizon(horizon: int, share: float) -> None:
    """The greedy one is the projection of the target in A²'s metric, the optimum that in A's: (0, .576, .424)."""
    assert where_influences_are_equal(horizon) == pytest.approx(share, abs=5e-4)


@pytest.mark.parametrize(("horizon", "steps"), [(0, 700), (10, 300)])
@pytest.mark.long
def test_a_mixture_comes_to_rest_where_its_influences_are_equal(horizon: int, steps: int) -> None:
    found = at_rest(horizon, steps)
    expected = where_influences_are_equal(horizon)
    assert found == pytest.approx([0.0, expected, 1 - expected], abs=0.004)
    assert abs(where_influences_are_equal(0) - where_influences_are_equal(10)) > 0.007


def test_what_a_horizon_adds_is_that_of_the_hessian() -> None:
    """On a quadratic v_h = Σ_j (I + D·A)^j D∇M, exactly."""
    point = Point()
    with torch.no_grad():
        point.theta.copy_(torch.tensor([0.7, -0.4]))
    optimizer = torch.optim.SGD(point.parameters(), 0.5)
    before = remember(point, (optimizer,), whole_optimizer=False)
    rows = torch.arange(3)
    quadratic(point(CENTRES), rows).mean().backward()
    optimizer.step()
    taken: Any = TakenStep(
        point, (optimizer,), quadratic, quadratic, Batch(rows, rows, CENTRES, rows),
        torch.zeros(3, dtype=torch.float64), before, dense_gradient_of(point),
    )  # fmt: skip
    target = [Target(MetaBatch(TARGET, torch.zeros(1), 1), 1.0)]
    found, _ = DomainProbe(quadratic, Alone(), 3)(taken, target, np.arange(3), np.ones(3) / 3)
    slope = A * (point.theta.detach() - TARGET[0])
    v = sum((1 - 0.5 * A) ** j for j in range(4)) * -0.5 * slope  # type: ignore[arg-type]
    expected = (A * (before.params["theta"] - CENTRES)) @ v
    np.testing.assert_allclose(found.mean, expected.numpy(), rtol=1e-7)


def test_a_students_outputs_may_be_sequences() -> None:
    logits, labels = torch.randn(3, 7, 5), torch.randint(5, (3, 7))
    plain = nn.functional.cross_entropy(logits.transpose(1, 2), labels, reduction="none").mean(dim=1)
    torch.testing.assert_close(sequence_cross_entropy(logits, labels), plain)
