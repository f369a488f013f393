"""Learning to reweight: its weights are those of double backward through a virtual step, as published."""

from __future__ import annotations

import copy
import dataclasses

import pytest
import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.functional import cross_entropy
from truth_curriculum import as_batch, make_curriculum
from truth_students import STUDENTS, make_student, samples

from ray_mentor import CurriculumConfig, LearnedCurriculum, UserError
from ray_mentor.core.methods.weightings import LearningToReweight

SEED = 11


def published(student: nn.Module, batch: tuple[Tensor, Tensor], meta: tuple[Tensor, Tensor], rate: float) -> Tensor:
    """max(−∂M(θ − α∇Σε_iℓ_i)/∂ε, 0) at ε = 0, over its sum."""
    params = {
        name: param.detach().requires_grad_() for name, param in student.named_parameters() if param.requires_grad
    }
    buffers = {name: buffer.clone() for name, buffer in student.named_buffers()}
    losses = cross_entropy(functional_call(student, {**params, **buffers}, batch[0]), batch[1], reduction="none")
    epsilon = torch.zeros_like(losses, requires_grad=True)
    gradients = torch.autograd.grad((epsilon * losses).sum(), list(params.values()), create_graph=True)
    moved = {name: params[name] - rate * gradient for name, gradient in zip(params, gradients, strict=True)}
    meta_loss = cross_entropy(functional_call(student, {**moved, **buffers}, meta[0]), meta[1])
    (slope,) = torch.autograd.grad(meta_loss, epsilon)
    weights = (-slope).clamp(min=0)
    return weights / weights.sum()


@pytest.mark.parametrize("name", [name for name in STUDENTS if name != "mlp with dropout"])
@pytest.mark.parametrize("rate", [1.0, 1e-3])
@sdpa_kernel(SDPBackend.MATH)  # the others have no double backward
def test_weights_are_those_of_double_backward(name: str, rate: float) -> None:
    student, batch, meta = make_student(name), samples(name, 9, seed=20), samples(name, 7, seed=2)
    truth = published(copy.deepcopy(student), batch, meta, rate)
    optimizer = torch.optim.SGD(student.parameters(), lr=0.1, momentum=0.9)
    curriculum = make_curriculum(student, optimizer, meta, weighting=LearningToReweight())
    record = curriculum.step(as_batch(batch))
    found = record.sample_weights / record.sample_weights.sum()
    torch.testing.assert_close(found, truth, rtol=1e-9, atol=1e-12)
    assert 0 < float((found > 0).double().mean()) < 1, "some count, and some don't"
    assert float(record.sample_weights.max()) == 1


def test_the_step_is_what_it_would_be_with_these_weights_given() -> None:
    """Looking ahead leaves no trace: buffers, masks and gradients are those of a plain weighted step."""
    name = "conv with batch norm"
    ahead, plain = make_student(name), make_student(name)
    batch, meta = samples(name, 9, seed=20), samples(name, 7, seed=2)
    optimizer = torch.optim.SGD(ahead.parameters(), lr=0.1)
    record = make_curriculum(ahead, optimizer, meta, weighting=LearningToReweight()).step(as_batch(batch))
    weights = record.sample_weights / record.sample_weights.sum()
    plain.train()
    (weights * cross_entropy(plain(batch[0]), batch[1], reduction="none")).sum().backward()
    torch.optim.SGD(plain.parameters(), lr=0.1).step()
    for (key, found), expected in zip(ahead.state_dict().items(), plain.state_dict().values(), strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-12, msg=key)


def test_dropout_has_the_mask_of_the_step() -> None:
    name = "mlp with dropout"
    student, batch, meta = make_student(name), samples(name, 9, seed=20), samples(name, 7, seed=2)
    curriculum = make_curriculum(
        student, torch.optim.SGD(student.parameters(), lr=0.1), meta, weighting=LearningToReweight()
    )
    torch.manual_seed(SEED)
    before = torch.random.get_rng_state()
    curriculum.meta.slopes(0, as_batch(batch))
    assert torch.equal(torch.random.get_rng_state(), before)


def test_where_no_sample_helps_the_student_stays() -> None:
    name = "mlp"
    student, batch = make_student(name), samples(name, 5, seed=20)
    against = batch[0], batch[1]
    optimizer = torch.optim.SGD(student.parameters(), lr=0.1)
    curriculum = make_curriculum(student, optimizer, against, weighting=LearningToReweight())
    curriculum.meta.slopes = lambda step, batch: -torch.ones(len(batch))  # type: ignore[method-assign]
    before = [param.detach().clone() for param in student.parameters()]
    record = curriculum.step(as_batch(batch))
    assert (record.sample_weights == 0).all()
    assert all(torch.equal(was, param) for was, param in zip(before, student.parameters(), strict=True))


def test_how_much_a_trusted_sample_would_help_is_no_measure_of_the_others() -> None:
    student, whole = make_student("mlp"), as_batch(samples("mlp", 6, seed=20))
    batch = dataclasses.replace(whole, trusted=torch.arange(6) == 5)
    optimizer = torch.optim.SGD(student.parameters(), lr=0.1)
    curriculum = make_curriculum(student, optimizer, samples("mlp", 7, seed=2), weighting=LearningToReweight())
    slopes = torch.tensor([1.0, 2.0, -1.0, 4.0, 0.0, 100.0], dtype=torch.float64)
    curriculum.meta.slopes = lambda step, batch: slopes  # type: ignore[method-assign]
    weighed = curriculum.observe(batch)
    assert curriculum.score(weighed).tolist() == [0.25, 0.5, 0.0, 1.0, 0.0, 1.0]


def test_only_the_trainer_looks_ahead() -> None:
    student = nn.Linear(2, 2)
    meta = torch.zeros(4, 2), torch.zeros(4, dtype=torch.long)
    with pytest.raises(UserError, match="method is 'l2rw', which looks at a batch before"):
        LearnedCurriculum(
            student,
            torch.optim.SGD(student.parameters(), 0.1),
            meta,
            total_steps=10,
            curriculum=CurriculumConfig(method="l2rw"),
        )
