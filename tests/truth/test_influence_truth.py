"""Influences and hypergradients equal the derivative through the optimizer's step, by double backward."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from stand_ins import Spy
from torch import Tensor, nn
from torch.optim import SGD, Adam, AdamW, Optimizer
from truth_curriculum import (
    CONFIG,
    as_batch,
    changed,
    gradient_that_arrived,
    make_curriculum,
    make_learner,
    mentor_of,
    relative_error,
)
from truth_students import CLASSES, STUDENTS, make_student, samples
from unrolled import Snapshot, cross_entropies, unrolled_step

from ray_mentor.config import CurriculumConfig, MentorConfig
from ray_mentor.core.mentor.networks import MENTORS

TOLERANCE = 1e-10
B = 9

OPTIMIZERS: dict[str, tuple[type[Optimizer], dict[str, Any]]] = {
    "sgd": (SGD, {}),
    "sgd, weight decay": (SGD, {"weight_decay": 0.03}),
    "momentum": (SGD, {"momentum": 0.9}),
    "momentum, dampening": (SGD, {"momentum": 0.8, "dampening": 0.4}),
    "momentum, weight decay, maximize": (SGD, {"momentum": 0.9, "weight_decay": 0.03, "maximize": True}),
    "nesterov": (SGD, {"momentum": 0.9, "nesterov": True}),
    "nesterov, weight decay": (SGD, {"momentum": 0.7, "nesterov": True, "weight_decay": 0.03}),
    "adam": (Adam, {}),
    "adam, L2": (Adam, {"weight_decay": 0.05}),
    "adam, L2, maximize": (Adam, {"weight_decay": 0.05, "maximize": True}),
    "adam, amsgrad": (Adam, {"amsgrad": True}),
    "adam, other betas and eps": (Adam, {"betas": (0.5, 0.9), "eps": 1e-3}),
    "adamw": (AdamW, {"weight_decay": 0.1}),
    "adamw, amsgrad, maximize": (AdamW, {"weight_decay": 0.1, "amsgrad": True, "maximize": True}),
}


def make_optimizer(name: str, student: nn.Module) -> Optimizer:
    kind, options = OPTIMIZERS[name]
    return kind(student.parameters(), lr=0.1 if kind is SGD else 0.01, **options)


def warm_up(student: nn.Module, optimizer: Optimizer, name: str, steps: int) -> None:
    """Steps of the real optimizer, the first with larger gradients, so that AMSGrad has old maxima to keep."""
    for step in range(steps):
        inputs, labels = samples(name, B, seed=50 + step)
        optimizer.zero_grad()
        ((3.0 if step == 0 else 1.0) * cross_entropies(student(inputs), labels).mean()).backward()
        optimizer.step()


def check(
    name: str, optimizer_of: Callable[[nn.Module], Optimizer], config: MentorConfig, warm: int, **settings: object
) -> None:
    """One step of the real curriculum, held against the unrolled step."""
    student = make_student(name)
    optimizer = optimizer_of(student)
    warm_up(student, optimizer, name, warm)
    batch, meta = samples(name, B, seed=1), samples(name, 7, seed=2)
    access = Spy(make_learner(config, CLASSES))
    curriculum = make_curriculum(student, optimizer, meta, config=config, access=access, **settings)  # type: ignore[arg-type]
    mentor = mentor_of(access.state, config, CLASSES)
    before = Snapshot.of(student, optimizer)

    record = curriculum.step(as_batch(batch))

    (update,) = access.updates
    w = torch.where(update.keep, mentor.sample_weights(update.features), 0.0)
    assert w.std() > 1e-3
    normalised = w / w.sum() if config.normalisation == "sum" else w / B
    unrolled = unrolled_step(student, optimizer, before, batch, normalised, meta)
    torch.testing.assert_close(record.losses, unrolled.losses, rtol=1e-13, atol=0)
    for key, param in student.named_parameters():
        torch.testing.assert_close(param.detach(), unrolled.params[key].detach(), rtol=1e-11, atol=1e-10, msg=key)
    assert record.meta_loss == pytest.approx(float(unrolled.meta_loss.detach()), rel=1e-12)

    truth, *hyper = torch.autograd.grad(unrolled.meta_loss, [normalised, *mentor.parameters()])
    errors = (
        relative_error(record.influence, truth),
        relative_error(update.influence, truth),
        relative_error(flat(gradient_that_arrived(access.state)), flat(hyper) / truth.abs().mean()),
    )
    assert max(errors) <= TOLERANCE, errors


def flat(tensors: list[Tensor]) -> Tensor:
    return torch.cat([tensor.reshape(-1) for tensor in tensors])


@pytest.mark.parametrize("normalisation", ["sum", "batch"])
@pytest.mark.parametrize("warm", [0, 3], ids=["first step", "warm"])
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_every_optimizer(optimizer: str, warm: int, normalisation: str) -> None:
    check("mlp", lambda student: make_optimizer(optimizer, student), changed(normalisation=normalisation), warm)


@pytest.mark.parametrize("normalisation", ["sum", "batch"])
@pytest.mark.parametrize("optimizer", ["sgd", "momentum", "nesterov, weight decay", "adam", "adam, L2", "adamw"])
@pytest.mark.parametrize("student", [name for name in STUDENTS if name != "mlp"])
def test_every_student(student: str, optimizer: str, normalisation: str) -> None:
    check(student, lambda made: make_optimizer(optimizer, made), changed(normalisation=normalisation), warm=2)


@pytest.mark.parametrize("kind", [SGD, AdamW])
def test_param_groups_with_settings_of_their_own(kind: type[Optimizer]) -> None:
    def grouped(student: nn.Module) -> Optimizer:
        first, *rest = student.parameters()
        momentum = {"momentum": 0.6} if kind is SGD else {"betas": (0.6, 0.95)}
        return kind([{"params": rest, "lr": 0.003, "weight_decay": 0.2}, {"params": [first], **momentum}], lr=0.05)

    check("mlp", grouped, CONFIG, warm=2)


def test_amsgrad_is_tested_with_old_and_with_new_maxima() -> None:
    student = make_student("mlp")
    optimizer = make_optimizer("adam, amsgrad", student)
    warm_up(student, optimizer, "mlp", 3)
    old = flat([state["max_exp_avg_sq"] > state["exp_avg_sq"] for state in optimizer.state.values()])
    assert 0 < old.double().mean() < 1


@pytest.mark.parametrize("normalisation", ["sum", "batch"])
def test_samples_that_example_dropout_took_out_have_an_influence_but_no_hypergradient(normalisation: str) -> None:
    settings = CurriculumConfig(example_dropout="0.5:1")
    check(
        "mlp",
        lambda made: make_optimizer("nesterov", made),
        changed(normalisation=normalisation),
        warm=2,
        curriculum=settings,
    )


@pytest.mark.parametrize("kind", [name for name in MENTORS if name != "mlp"])
def test_every_kind_of_mentor(kind: str) -> None:
    config = changed(mentor=kind, history_length=2, mentor_features=("loss", "loss_difference", "label"))
    check("mlp", lambda made: make_optimizer("nesterov", made), config, warm=2)


def test_the_mentor_sees_losses_percentile_labels_and_progress() -> None:
    student = make_student("mlp")
    batch, meta = samples("mlp", B, seed=1), samples("mlp", 7, seed=2)
    access = Spy(make_learner(CONFIG, CLASSES))
    curriculum = make_curriculum(student, make_optimizer("sgd", student), meta, access=access, total_steps=4)
    for step in range(2):
        losses = cross_entropies(student(batch[0]), batch[1]).detach()
        curriculum.step(as_batch(batch))
        seen = access.updates[-1].features
        torch.testing.assert_close(seen.loss, losses, rtol=1e-13, atol=0)
        assert seen.loss.dtype == torch.float64
        assert torch.equal(seen.label, batch[1])
        assert torch.equal(seen.progress, torch.full((B,), step / 4, dtype=torch.float64))
        if step == 0:
            torch.testing.assert_close(seen.loss_difference, losses - torch.quantile(losses, 0.6))


@pytest.mark.parametrize("optimizer", ["sgd", "nesterov", "adam", "adamw"])
@pytest.mark.parametrize("warm", [0, 2], ids=["first step", "warm"])
def test_float32_is_as_exact_as_float32_allows(optimizer: str, warm: int) -> None:
    """At Adam's first step θ' hardly depends on g's size: a formula that cancels would return rounding noise."""
    found = []
    for dtype in (torch.float32, torch.float64):
        student = make_student("mlp").to(dtype)
        made = make_optimizer(optimizer, student)
        for step in range(warm):
            inputs, labels = samples("mlp", B, seed=50 + step)
            made.zero_grad()
            cross_entropies(student(inputs.to(dtype)), labels).mean().backward()
            made.step()
        inputs, labels = samples("mlp", B, seed=1)
        meta_inputs, meta_labels = samples("mlp", 7, seed=2)
        access = Spy(make_learner(CONFIG, CLASSES))
        curriculum = make_curriculum(student, made, (meta_inputs.to(dtype), meta_labels), access=access)
        found.append(curriculum.step(as_batch((inputs.to(dtype), labels))).influence)
    assert relative_error(found[0], found[1].double()) < 1e-4
