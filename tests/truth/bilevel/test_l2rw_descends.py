"""Learning to reweight: below a step size the meta loss never rises, above it it does (Ren et al. 2018)."""

from __future__ import annotations

import pytest
import torch
from ridge import D, Problem, curriculum_on, draw, normal, theta_of

from ray_mentor.core.methods.weightings import LearningToReweight

STEPS = 400


def rises_in(problem: Problem, scale: float, *, exact: bool) -> int:
    """Of so many steps, those in which M rises.

    g = Σ ŵ_i ∇ℓ_i, ŵ_i ∝ max(⟨∇M, ∇ℓ_i⟩, 0), and M(θ − ηg) ≤ M(θ) − η⟨∇M, g⟩ + ½Lη²‖g‖², so that M does not rise up to
    η = 2⟨∇M, g⟩/(Lσ²), ‖∇ℓ_i‖ ≤ σ. M being a quadratic, it is gᵀH_M g that stands for L‖g‖² exactly.

    Args:
        scale: of that η.
        exact: whether to take the exact one.
    """
    curriculum = curriculum_on(problem, torch.zeros(3, dtype=D), None, rate=1.0, weighting=LearningToReweight())
    curvature = problem.meta_x.T @ problem.meta_x / len(problem.meta_x)
    largest = float(torch.linalg.eigvalsh(curvature)[-1])
    rises = 0
    for _ in range(STEPS):
        theta = theta_of(curriculum)
        gradients, upwards = problem.gradients(theta), problem.meta_gradient(theta)
        helps = (gradients @ upwards).clamp(min=0)
        if not helps.sum() > 0:
            break
        step = (helps / helps.sum()) @ gradients
        bound = float(step @ curvature @ step) if exact else largest * float(gradients.square().sum(dim=1).max())
        for group in curriculum.optimizer.param_groups:
            group["lr"] = scale * 2 * float(upwards @ step) / bound
        curriculum.step(problem.batch)
        before, after = problem.meta_loss(theta), problem.meta_loss(theta_of(curriculum))
        rises += after > before * (1 + 1e-13)
    return rises


@pytest.fixture(scope="module")
def problem() -> Problem:
    of = draw(5)
    x, wanted = normal(12, 3, of=of), normal(3, of=of)
    meta = normal(8, 3, of=of)
    labels = x @ wanted + 2 * normal(12, of=of)
    return Problem(x, labels, torch.zeros(12, dtype=torch.long), meta, meta @ wanted + 0.1 * normal(8, of=of))


@pytest.mark.long
def test_the_meta_loss_never_rises_below_the_bound(problem: Problem) -> None:
    assert rises_in(problem, 1.0, exact=False) == 0
    assert rises_in(problem, 0.99, exact=True) == 0


@pytest.mark.long
def test_it_rises_at_every_step_above_it(problem: Problem) -> None:
    assert rises_in(problem, 1.05, exact=True) == STEPS
