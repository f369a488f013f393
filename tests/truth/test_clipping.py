"""Influences through a clipped step: the derivative of the clipping factor is in them."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Callable

import pytest
import torch
from stand_ins import Spy
from torch import Tensor, nn
from torch.optim import SGD, AdamW, Optimizer
from truth_curriculum import CONFIG, as_batch, make_curriculum, make_learner, mentor_of, relative_error
from truth_students import CLASSES, STUDENTS, make_student, samples
from unrolled import Snapshot, unrolled_step

B = 9
NEVER = 1e6  # no gradient is so long


def sgd(student: nn.Module) -> Optimizer:
    return SGD(student.parameters(), lr=0.1, momentum=0.9, nesterov=True, weight_decay=0.03)


def adamw(student: nn.Module) -> Optimizer:
    return AdamW(student.parameters(), lr=0.01, weight_decay=0.1)


def influences(
    name: str, optimizer_of: Callable[[nn.Module], Optimizer], clip: float, estimator: str = "jvp", steps: int = 3
) -> tuple[Tensor, Tensor, dict[str, Tensor], dict[str, Tensor]]:
    """Of the last of some steps, found and true; and the params after it, as they are and as they should be."""
    student, meta = make_student(name), samples(name, 7, seed=2)
    optimizer = optimizer_of(student)
    config = dataclasses.replace(CONFIG, estimator=estimator)
    access = Spy(make_learner(config, CLASSES))
    curriculum = make_curriculum(student, optimizer, meta, config=config, access=access, clip=clip)
    for step in range(steps):
        batch = samples(name, B, seed=10 + step)
        mentor = mentor_of(access.state, config, CLASSES)
        before = copy.deepcopy(Snapshot.of(student, optimizer))
        record = curriculum.step(as_batch(batch))
    weights = mentor.sample_weights(access.updates[-1].features).detach()
    normalised = (weights / weights.sum()).requires_grad_()
    unrolled = unrolled_step(student, optimizer, before, batch, normalised, meta, clip)
    (truth,) = torch.autograd.grad(unrolled.meta_loss, normalised)
    after = {name: param.detach() for name, param in student.named_parameters()}
    return record.influence, truth, after, {name: param.detach() for name, param in unrolled.params.items()}


@pytest.mark.parametrize("clip", [0.05, 0.3, NEVER])
@pytest.mark.parametrize("optimizer_of", [sgd, adamw])
@pytest.mark.parametrize("name", STUDENTS)
def test_the_step_and_its_influences(name: str, optimizer_of: Callable[[nn.Module], Optimizer], clip: float) -> None:
    found, truth, after, should_be = influences(name, optimizer_of, clip)
    for param, value in after.items():
        torch.testing.assert_close(value, should_be[param], rtol=1e-11, atol=1e-10)
    assert relative_error(found, truth) <= 1e-9


@pytest.mark.parametrize("estimator", ["jvp", "unrolled"])
def test_every_exact_estimator_knows_of_it(estimator: str) -> None:
    found, truth, _, _ = influences("conv with batch norm", sgd, 0.1, estimator)
    assert relative_error(found, truth) <= 1e-9


def test_finite_differences_know_of_it() -> None:
    found, truth, _, _ = influences("mlp", sgd, 0.1, "finite_difference")
    assert relative_error(found, truth) <= 1e-5


def test_it_is_no_constant_factor() -> None:
    """What clipping leaves out is what moves along the gradient: another influence, and no multiple of the former."""
    clipped, _, _, _ = influences("mlp", sgd, 0.1, steps=1)
    plain, _, _, _ = influences("mlp", sgd, NEVER, steps=1)
    cosine = torch.nn.functional.cosine_similarity(clipped, plain, dim=0)
    assert cosine < 0.99


def test_scaling_all_weights_moves_nothing_that_is_clipped() -> None:
    """c·g = m·g/‖g‖: Σ_i ŵ_i s_i = 0, up to what PyTorch adds to the norm."""
    student, meta, batch = make_student("mlp"), samples("mlp", 7, seed=2), samples("mlp", B, seed=1)
    access = Spy(make_learner(CONFIG, CLASSES))
    curriculum = make_curriculum(student, sgd(student), meta, access=access, clip=0.01)
    mentor = mentor_of(access.state, CONFIG, CLASSES)
    record = curriculum.step(as_batch(batch))
    weights = mentor.sample_weights(access.updates[0].features).detach()
    parts = weights / weights.sum() * record.influence
    assert abs(parts.sum()) < 1e-5 * parts.abs().sum()
