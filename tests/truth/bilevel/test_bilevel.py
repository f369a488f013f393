"""What a one-step influence is to the bilevel gradient, on weighted ridge regression in closed form."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from ridge import CONFIG, D, Problem, Watched, curriculum_on, draw, learner_at, normal, problem_of, spectrum
from torch import Tensor
from truth_curriculum import changed

WEIGHTS = torch.tensor([0.2, 0.5, 0.9], dtype=D)


def seen_ahead(problem: Problem, theta: Tensor, weights: Tensor, rate: float, steps: int) -> Tensor:
    """s_i(K): influences as the engine finds them, with the meta loss K of its steps ahead."""
    ahead = {"estimator": "unrolled", "unroll_steps": steps, "update_interval": steps}
    config = changed(CONFIG, **ahead) if steps > 1 else CONFIG
    mentor = Watched(learner_at(weights, config))
    curriculum = curriculum_on(problem, theta, mentor, rate=rate, config=config)
    for _ in range(steps):
        curriculum.step(problem.batch)
    return mentor.last.influence


@pytest.mark.long
def test_the_horizon_identity() -> None:
    """s_i(K) = −η∇Mᵀ(I − ηH)^{K−1}∇ℓ_i at θ*, and Σ_{K≤n} s_i(K) tends to ∂F/∂ŵ_i as (1 − ηλ_min)^n."""
    of = draw(0)
    x = torch.linalg.qr(normal(9, 3, of=of))[0] * torch.tensor([0.3, 1.6, 2.0], dtype=D)
    group = torch.arange(9) % 3
    problem = Problem(x, normal(9, of=of), group, normal(5, 3, of=of), normal(5, of=of), ridge=0.05)
    shares = problem.shares(WEIGHTS)
    theta, hessian = problem.solution(shares), problem.hessian(shares)
    sizes = torch.linalg.eigvalsh(hessian)
    rate = 0.9 / float(sizes[-1])
    shrinks = torch.eye(3, dtype=D) - rate * hessian
    whole, missing = torch.zeros(9, dtype=D), []
    for steps in range(1, 22):
        found = seen_ahead(problem, theta, WEIGHTS, rate, steps)
        powers = torch.linalg.matrix_power(shrinks, steps - 1)
        expected = -rate * problem.gradients(theta) @ powers @ problem.meta_gradient(theta)
        torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-13)
        whole += found
        missing.append(float((whole - problem.bilevel(shares)).norm()))
    slope = np.polyfit(range(12, 21), np.log(missing[12:]), 1)[0]
    assert slope == pytest.approx(math.log(1 - rate * float(sizes[0])), rel=0.05)


def one_step_optimum(problem: Problem) -> tuple[float, float]:
    """Share p of the first of two groups at which the one-step mentor rests; and the same, kept within (0, 1).

    Where both groups have the same H, θ* and ∇M are linear in p, and ∇ℓ_1 − ∇ℓ_2 is constant.
    """

    def pull(p: float) -> float:
        weights = torch.tensor([p, 1 - p], dtype=D)
        found = seen_ahead(problem, problem.solution(problem.shares(weights)), weights, 1.0, 1)
        return float(found[problem.group == 0].mean() - found[problem.group == 1].mean())

    low, high = pull(0.25), pull(0.75)
    rest = 0.25 + 0.5 * low / (low - high)
    kept = min(max(rest, 1e-6), 1 - 1e-6)
    if rest == kept:
        assert pull(rest) == pytest.approx(0, abs=1e-9 * abs(low - high))
    return rest, kept


def astray(condition: float, seed: int, d: int = 4) -> tuple[float, bool]:
    """How far the share of a group lies off that of the bilevel optimum, which is known, and whether F is then larger
    than with equal weights. No φ makes M as small as it can be: θ° lies beside all that the groups can give.
    """
    of = draw(seed)
    hessian, first, second, aside = (spectrum(condition, d, of), *(normal(d, of=of) for _ in range(3)))
    best = 0.2 + 0.6 * float(torch.rand((), generator=of, dtype=D))
    between = first - second
    aside = aside - between * (between @ hessian @ aside) / (between @ hessian @ between)
    aside = aside / 2 * ((between @ hessian @ between) / (aside @ hessian @ aside)).sqrt()
    wanted = best * first + (1 - best) * second + aside
    problem = problem_of([hessian, hessian], [first, second], wanted, hessian)
    at_best = problem.shares(torch.tensor([best, 1 - best], dtype=D))
    per_group = problem.bilevel(at_best).reshape(2, -1).mean(dim=1)
    assert float(per_group[0]) == pytest.approx(float(per_group[1]), abs=1e-9)
    _, kept = one_step_optimum(problem)

    def outer(p: float) -> float:
        return problem.outer_loss(torch.tensor([p, 1 - p], dtype=D))

    return abs(kept - best), outer(kept) > outer(0.5) + 1e-12


@pytest.mark.long
def test_one_step_is_the_bilevel_optimum_at_condition_1_and_off_it_beyond() -> None:
    """The figures of docs/theory.md."""
    found = {condition: [astray(condition, seed) for seed in range(12)] for condition in (1.0, 10.0, 100.0, 1000.0)}
    off = {condition: [one for one, _ in draws] for condition, draws in found.items()}
    worse = {condition: sum(is_worse for _, is_worse in draws) for condition, draws in found.items()}
    assert max(off[1.0]) < 1e-12
    assert worse[1.0] == 0
    assert {k: (round(float(np.median(v)), 2), round(max(v), 2), worse[k]) for k, v in off.items() if k > 1} == {
        10.0: (0.12, 0.31, 5),
        100.0: (0.08, 0.37, 3),
        1000.0: (0.09, 0.32, 2),
    }


def test_one_step_may_have_the_wrong_sign() -> None:
    """H = diag(1, 1/κ): one step looks along the steep direction alone, and twenty of them see the flat one."""
    flat = 10.0
    hessian = torch.diag(torch.tensor([1.0, 1 / flat], dtype=D))
    apart, weights = torch.tensor([1.0, 1.0], dtype=D), torch.tensor([0.5, 0.5], dtype=D)
    wanted = torch.tensor([-1.0, 2 * flat], dtype=D)
    problem = problem_of([hessian, hessian], [apart / 2, -apart / 2], wanted, hessian)
    shares = problem.shares(weights)
    theta = problem.solution(shares)

    def pull(per_sample: Tensor) -> float:
        return float(problem.in_logits(weights, per_sample)[0])

    ahead = [seen_ahead(problem, theta, weights, 1.0, steps) for steps in range(1, 21)]
    assert pull(ahead[0]) > 0
    assert pull(problem.bilevel(shares)) < 0
    assert pull(torch.stack(ahead).sum(dim=0)) < 0
    finite = problem.outer_loss(torch.tensor([0.501, 0.5], dtype=D)) - problem.outer_loss(weights)
    assert finite < 0, "the first group should count more"
