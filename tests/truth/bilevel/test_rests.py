"""Where the loop of student and mentor comes to rest, on weighted ridge regression in closed form."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from ridge import (
    CONFIG,
    D,
    Problem,
    Watched,
    curriculum_on,
    draw,
    features_of,
    learner_at,
    normal,
    problem_of,
    spectrum,
)
from torch import Tensor
from truth_curriculum import changed

from ray_mentor.core.batch import MetaBatch
from ray_mentor.core.mentor.learner import MetaUpdate, divergence

FALLING = (0.1, 0.1, 0.03, 0.01, 3e-3, 1e-3, 1e-4, 1e-5, 1e-6)
"""The mentor's rate: 40 updates at each."""


def at_rest(problem: Problem, start: list[float], config: dict[str, object], interval: int = 1) -> Watched:
    """The mentor after student and mentor went on together while its rate fell."""
    settings = changed(CONFIG, update_interval=interval, **config)
    mentor = Watched(learner_at(torch.tensor(start, dtype=D), settings))
    curriculum = curriculum_on(problem, torch.zeros(problem.x.shape[1], dtype=D), mentor, rate=1.0, config=settings)
    for rate in FALLING:
        mentor.learn_at(rate / interval)
        for _ in range(40 * interval):
            curriculum.step(problem.batch)
    return mentor


def realisable() -> tuple[Problem, Tensor]:
    """Three groups whose labels are off, each in its own way, and the shares at which these cancel, so that M = 0."""
    of = draw(3)
    hessians = [spectrum(condition, 2, of) for condition in (2.0, 4.0, 3.0)]
    wanted, shares = normal(2, of=of), torch.tensor([0.5, 0.3, 0.2], dtype=D)
    off = [normal(2, of=of) for _ in range(2)]
    pulled = sum((p * h @ o for p, h, o in zip(shares, hessians, off, strict=False)), torch.zeros(2, dtype=D))
    off.append(-torch.linalg.solve(shares[2] * hessians[2], pulled))
    return problem_of(hessians, [wanted + one for one in off], wanted, torch.eye(2, dtype=D)), shares


@pytest.mark.long
@pytest.mark.parametrize(
    ("start", "interval"),
    [
        ([0.5, 0.5, 0.5], 1),
        pytest.param([0.9, 0.1, 0.1], 1, marks=pytest.mark.slow),
        pytest.param([0.05, 0.9, 0.3], 1, marks=pytest.mark.slow),
        pytest.param([0.5, 0.5, 0.5], 4, marks=pytest.mark.slow),
    ],
)
def test_where_the_meta_loss_can_be_0_it_is_the_bilevel_optimum(start: list[float], interval: int) -> None:
    problem, shares = realisable()
    assert problem.outer_loss(shares) < 1e-30
    weights = at_rest(problem, start, {}, interval).weight_of_group
    assert float(problem.in_logits(weights, problem.bilevel(problem.shares(weights))).norm()) < 1e-6
    torch.testing.assert_close(weights / weights.sum(), shares, rtol=0, atol=1e-5)


@pytest.mark.long
def test_with_a_pull_weights_are_exponential_in_the_influence_where_it_rests() -> None:
    """p_i ∝ exp(−s̄_i/λ), of the influences that the student has there; and that is no bilevel optimum."""
    of = draw(1)
    x = normal(6, 2, of=of)
    problem = Problem(x, normal(6, of=of), torch.arange(6), normal(4, 2, of=of), normal(4, of=of), ridge=0.3)
    mentor = at_rest(problem, [0.5] * 6, {"entropy": 1.5})
    influence, weights = mentor.last.influence, mentor.weight_of_group
    theta = problem.solution(problem.shares(weights))
    closed = -problem.gradients(theta) @ problem.meta_gradient(theta)
    torch.testing.assert_close(influence, closed, rtol=1e-5, atol=1e-7)
    expected = torch.softmax(-influence / influence.abs().mean() / 1.5, dim=0)
    torch.testing.assert_close(weights / weights.sum(), expected, rtol=3e-2, atol=3e-3)
    assert float((expected - 1 / 6).abs().max()) > 0.05
    assert float(problem.in_logits(weights, problem.bilevel(problem.shares(weights))).norm()) > 1e-4


def test_the_pull_makes_one_best_answer() -> None:
    """Σ p_i s̄_i + λ·KL(p ‖ uniform) = λ·KL(p ‖ p*) + constant, p* ∝ exp(−s̄/λ): no other weights are as good."""
    pull, influence = 0.6, torch.tensor([-2.0, -0.5, 0.4, 3.0, -1.1, 0.0], dtype=D)
    best = torch.softmax(-influence / influence.abs().mean() / pull, dim=0)
    update = MetaUpdate(1, features_of(6), influence, torch.ones(6, dtype=torch.bool))

    def objective(weights: Tensor) -> tuple[float, Tensor]:
        learner = learner_at(weights, changed(CONFIG, entropy=pull))
        value = learner.objective(update)
        (slope,) = torch.autograd.grad(value, learner.network.head.weight)  # type: ignore[union-attr]
        return float(value.detach()), slope

    least, slope = objective(0.9 * best / best.max())
    assert float(slope.norm()) < 1e-12
    of = draw(2)
    for _ in range(20):
        weights = torch.rand(6, generator=of, dtype=D)
        p = weights / weights.sum()
        apart = float((p * (p / best).log()).sum())
        assert objective(weights)[0] - least == pytest.approx(pull * apart, rel=1e-9)
    assert float(divergence(best)) > 0.1


@pytest.mark.long
def test_without_a_pull_its_own_hypergradient_vanishes_where_it_rests() -> None:
    """Σ_i s_i ∂ŵ_i/∂φ = 0 with the s_i of one step, where that is inside; the bilevel gradient is not 0 there."""
    of = draw(4)
    hessian, first, second = spectrum(8.0, 2, of), normal(2, of=of), normal(2, of=of)
    wanted = 0.6 * first + 0.4 * second + 0.2 * normal(2, of=of)
    problem = problem_of([hessian, hessian], [first, second], wanted, hessian)
    mentor = at_rest(problem, [0.5, 0.5], {})
    weights = mentor.weight_of_group
    shares = problem.shares(weights)
    theta = problem.solution(shares)
    one_step = -problem.gradients(theta) @ problem.meta_gradient(theta)
    assert 0.05 < float(weights[0] / weights.sum()) < 0.95
    assert float(problem.in_logits(weights, one_step).norm()) < 1e-6 * float(one_step.norm())
    assert float(problem.in_logits(weights, problem.bilevel(shares)).norm()) > 1e-3


def drift() -> float:
    """Slope of log ‖∇F‖² over log t, of minibatches of 12 of 60 noisy samples and 10 of 40 trusted ones; by windows
    from t to 2t, t = 16 … 256, of two draws; the mentor begins near its best. The rates fall, the mentor's as t^(−3/5)
    and the student's as t^(−2/5).
    """
    windows = [16 * 2**k for k in range(5)]
    means = [[gaps[t : 2 * t].mean() for t in windows] for gaps in (gaps_of(seed, 512) for seed in (1, 2))]
    return float(np.polyfit(np.log(windows), np.log(np.mean(means, axis=0)), 1)[0])


def gaps_of(seed: int, steps: int) -> np.ndarray:
    """‖∇F‖² after each step."""
    of, groups = draw(seed), torch.arange(60) % 3
    x, optima = normal(60, 3, of=of), normal(3, 3, of=of)
    meta_x = normal(40, 3, of=of)
    wanted = torch.tensor([0.5, 0.3, 0.2], dtype=D) @ optima
    labels = (x * optima[groups]).sum(dim=1) + 0.3 * normal(60, of=of)
    problem = Problem(x, labels, groups, meta_x, meta_x @ wanted + 0.3 * normal(40, of=of))
    mentor = Watched(learner_at(torch.tensor([0.9, 0.54, 0.36], dtype=D)))
    meta, found = problem.meta, []

    def meta_batch(_: int) -> MetaBatch:
        rows = torch.randint(40, (10,), generator=of)
        return MetaBatch(meta.inputs[rows], meta.labels[rows], size=10)

    curriculum = curriculum_on(problem, torch.zeros(3, dtype=D), mentor, rate=0.3, meta_batch=meta_batch)
    for step in range(1, steps + 1):
        if step % 8 == 1:
            mentor.learn_at(0.3 * step**-0.6)
        for group in curriculum.optimizer.param_groups:
            group["lr"] = 0.3 * step**-0.4
        curriculum.step(problem.batch[torch.randint(60, (12,), generator=of)])
        weights = mentor.weight_of_group
        gap = problem.in_logits(weights, problem.bilevel(problem.shares(weights)))
        found.append(float(gap.square().sum()))
    return np.array(found)


@pytest.mark.slow
def test_with_minibatches_the_gap_falls_as_the_rates_do() -> None:
    assert drift() < -0.35
