"""A student that more than one optimizer moves: influences over all of them, and refusals by name."""

from __future__ import annotations

import copy
import re
from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch
from own_loop import CLASSES, blobs, noisy, params, per_sample, student
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim import SGD, Adam, AdamW, Muon, NAdam, Optimizer, Rprop

from ray_mentor.config import CurriculumConfig, MentorConfig
from ray_mentor.core.influence.estimators import ESTIMATORS
from ray_mentor.core.own_loop.learned_curriculum import LearnedCurriculum
from ray_mentor.core.step.record import StepRecord
from ray_mentor.errors import UserError

NO_BURN_IN = CurriculumConfig(burn_in=0.0)
VALID = "valid: SGD, Adam, AdamW, Adagrad, RMSprop, and any other whose step works element by element"


def refusal(message: str) -> Any:
    return pytest.raises(UserError, match=f"^{re.escape(message)}$")


def exactly(**changes: Any) -> MentorConfig:
    return MentorConfig(**{"update_interval": 1, "meta_batch_size": 16, "meta_loss": "loss", **changes})


def made(student: nn.Module, optimizers: Any, **changes: Any) -> LearnedCurriculum:
    inputs, labels = blobs(16, 1)
    meta = inputs.to(next(student.parameters()).dtype), labels
    arguments: dict[str, Any] = {"mentor": exactly(), "curriculum": NO_BURN_IN, "total_steps": 20, **changes}
    return LearnedCurriculum(student, optimizers, meta, **arguments)


Split = Callable[[nn.Module], Sequence[Optimizer]]

SPLITS: dict[str, Split] = {
    "SGD of the body, SGD of the head": lambda model: (
        SGD(model[0].parameters(), 0.1, momentum=0.9),  # type: ignore[index]
        SGD(model[2].parameters(), 0.02),  # type: ignore[index]
    ),
    "SGD of matrices, AdamW of the rest": lambda model: [
        SGD([p for p in model.parameters() if p.ndim == 2], 0.1, momentum=0.9, nesterov=True),
        AdamW([p for p in model.parameters() if p.ndim < 2], 0.01, eps=1e-3),
    ],
    "one that is measured": lambda model: (
        NAdam(model[0].parameters(), 0.01, eps=1e-3),  # type: ignore[index]
        Adam(model[2].parameters(), 0.01, eps=1e-3),  # type: ignore[index]
    ),
}


def stepped(
    model: nn.Module, optimizers: Sequence[Optimizer], curriculum: LearnedCurriculum, batch: Any
) -> tuple[StepRecord, Tensor]:
    inputs, labels, ids = batch
    loss = curriculum.weigh(per_sample(model(inputs.double()), labels), labels=labels, sample_ids=ids)
    normalised = curriculum._weighed.normalised.clone()  # type: ignore[union-attr]
    for optimizer in optimizers:
        optimizer.zero_grad()
    loss.backward()
    for optimizer in optimizers:
        optimizer.step()
    record = curriculum.after_step()
    assert record is not None
    return record, normalised


def by_real_steps(
    model: nn.Module, optimizers: Sequence[Optimizer], who: Sequence[int], batch: Any, normalised: Tensor
) -> Tensor:
    """(M after a step with ŵ_i + h − M after one with ŵ_i − h)/2h, each of deep copies."""
    inputs, labels, _ = batch
    meta_inputs, meta_labels = blobs(16, 1)
    h = 1e-5

    def meta_loss(more: Tensor) -> float:
        copied, copies = copy.deepcopy((model, optimizers))
        for optimizer in copies:
            optimizer.zero_grad()
        ((normalised + more) * per_sample(copied(inputs.double()), labels)).sum().backward()
        for place in who:
            copies[place].step()
        return float(per_sample(copied(meta_inputs.double()), meta_labels).mean().detach())

    each = h * torch.eye(len(labels), dtype=torch.float64)
    return torch.tensor([(meta_loss(one) - meta_loss(-one)) / (2 * h) for one in each], dtype=torch.float64)


@pytest.mark.parametrize("estimator", [name for name in ESTIMATORS if name != "last_layer"])
@pytest.mark.parametrize("split", SPLITS)
def test_influences_are_those_of_real_steps_of_all(split: str, estimator: str) -> None:
    model = student().double()
    optimizers = SPLITS[split](model)
    curriculum = made(model, optimizers, mentor=exactly(estimator=estimator, meta_batch_size=100))
    for batch in noisy(3):
        before = copy.deepcopy((model, optimizers))
        record, normalised = stepped(model, optimizers, curriculum, batch)
        truth = by_real_steps(*before, (0, 1), batch, normalised)
        error = float((record.influence - truth).norm() / truth.norm())
        assert error <= 1e-5


def test_the_last_layers_of_one_of_them() -> None:
    found = []
    for several in (False, True):
        model = student().double()
        if several:
            optimizers: Sequence[Optimizer] = (SGD(model[2].parameters(), 0.05), SGD(model[0].parameters(), 0.05))  # type: ignore[index]
        else:
            optimizers = (SGD(model.parameters(), 0.05),)
        curriculum = made(model, optimizers, mentor=exactly(estimator="last_layer"))
        found.append(stepped(model, optimizers, curriculum, next(noisy(1)))[0].influence)
    assert torch.equal(*found)


def test_one_of_them_may_skip_a_step() -> None:
    """As a gradient scaler lets it, or a loop that trains the head every second step: its params don't move."""
    model = student().double()
    optimizers = SPLITS["SGD of the body, SGD of the head"](model)
    curriculum = made(model, optimizers)
    batches = list(noisy(4))
    stepped(model, optimizers, curriculum, batches[0])
    for batch, who in zip(batches[1:], ([0], [1], [0, 1]), strict=True):
        before = copy.deepcopy((model, optimizers))
        inputs, labels, _ = batch
        loss = curriculum.weigh(per_sample(model(inputs.double()), labels), labels=labels)
        normalised = curriculum._weighed.normalised.clone()  # type: ignore[union-attr]
        for optimizer in optimizers:
            optimizer.zero_grad()
        loss.backward()
        for place in who:
            optimizers[place].step()
        record = curriculum.after_step()
        assert record is not None
        truth = by_real_steps(*before, who, batch, normalised)
        assert float((record.influence - truth).norm() / truth.norm()) <= 1e-5


def test_one_in_a_list_is_that_one() -> None:
    found = []
    for listed in (False, True):
        model = student()
        optimizer = SGD(model.parameters(), 0.05, momentum=0.9)
        curriculum = made(model, [optimizer] if listed else optimizer)
        for inputs, labels, _ in noisy(3):
            loss = curriculum.weigh(per_sample(model(inputs), labels), labels=labels)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            record = curriculum.after_step()
        assert record is not None
        found.append((record.influence, params(model)))
    assert torch.equal(found[0][0], found[1][0])
    assert all(torch.equal(value, found[1][1][name]) for name, value in found[0][1].items())


def test_close_takes_the_hooks_off_all() -> None:
    model = student()
    optimizers = SPLITS["SGD of the body, SGD of the head"](model)
    made(model, optimizers).close()
    assert not any(optimizer._optimizer_step_post_hooks for optimizer in optimizers)
    assert not any(optimizer._optimizer_step_pre_hooks for optimizer in optimizers)


# Refusals


def a_step(model: nn.Module, optimizers: Sequence[Optimizer], curriculum: LearnedCurriculum) -> None:
    inputs, labels = blobs(20, 0)
    curriculum.weigh(per_sample(model(inputs), labels), labels=labels).backward()
    for optimizer in optimizers:
        optimizer.step()
    curriculum.after_step()


@pytest.mark.parametrize("given", [0, 1], ids=["the body's given", "the head's given"])
def test_params_that_another_optimizer_moves(given: int) -> None:
    model = student()
    optimizers = SPLITS["SGD of the body, SGD of the head"](model)
    curriculum = made(model, optimizers[given], curriculum=CurriculumConfig())
    names = ("2.weight, 2.bias", "0.weight, 0.bias")[given]
    with refusal(
        f"2 of the student's params have a gradient, but are in no optimizer that the curriculum was given: {names}; "
        "give it every optimizer that moves the student, LearnedCurriculum(student, [first, second], ...), and freeze "
        "what none moves: requires_grad_(False)"
    ):
        a_step(model, optimizers, curriculum)


def test_a_long_list_of_names_is_cut() -> None:
    model = nn.Sequential(*[nn.Linear(3, 3) for _ in range(6)])
    head = SGD(model[5].parameters(), 0.1)
    curriculum = made(model, head, curriculum=CurriculumConfig())
    with pytest.raises(UserError, match=r"^10 of the student's params .*: 0\.weight, 0\.bias, 1\.weight, \.\.\.; give"):
        a_step(model, [head], curriculum)


def test_params_that_are_frozen_or_without_a_gradient_are_in_none() -> None:
    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner, self.unused = student(), nn.Linear(2, 2)

        def forward(self, inputs: Tensor) -> Tensor:
            return self.inner(inputs)  # type: ignore[no-any-return]

    model = Model()
    model.inner[0].requires_grad_(False)  # type: ignore[index]
    head = SGD(model.inner[2].parameters(), 0.1)  # type: ignore[index]
    a_step(model, [head], made(model, head))


def test_a_param_in_two() -> None:
    model = student()
    with refusal(
        "2.weight is in two of the optimizers, but a param's step is one optimizer's; leave it in one of them"
    ):
        made(model, [SGD(model.parameters(), 0.1), SGD([model[2].weight], 0.1)])  # type: ignore[index]


def test_none_at_all() -> None:
    with refusal("there is no optimizer in the list that the curriculum was given; give it those of the student"):
        made(student(), [])


@pytest.mark.parametrize("given", [["SGD"], "S", 0.1])
def test_something_else_in_the_list(given: Any) -> None:
    kind = "float" if given == 0.1 else "str"
    with refusal(f"optimizer holds a {kind}, but it must be a torch.optim.Optimizer, or a list of them"):
        made(student(), given)


class Arc(nn.Module):
    """A loss with params of its own: a centre for each class."""

    def __init__(self) -> None:
        super().__init__()
        self.centres = nn.Parameter(torch.eye(CLASSES, 16))

    def forward(self, features: Tensor, labels: Tensor) -> Tensor:
        cosines = F.linear(F.normalize(features, dim=1), F.normalize(self.centres, dim=1))
        return per_sample(5 * cosines, labels)


@pytest.mark.parametrize("apart", [False, True], ids=["in the same optimizer", "in one of their own"])
def test_params_that_are_not_the_students(apart: bool) -> None:
    body, loss = nn.Linear(3, 16), Arc()
    if apart:
        optimizers = [SGD(body.parameters(), 0.1), SGD(loss.parameters(), 0.1)]
    else:
        optimizers = [SGD([*body.parameters(), *loss.parameters()], 0.1)]
    with refusal(
        "the optimizers hold params that are not the student's (1, of shape (3, 16)), and no influence knows of their "
        "step; if the losses need them, put them into the student (a module of both, which returns what the rest of "
        "the loss takes), else into an optimizer that the curriculum is not given, whose "
        "step comes after after_step"
    ):
        made(body, optimizers, loss=loss)


def test_muon_beside_adamw() -> None:
    model = nn.Sequential(nn.Linear(3, 16, bias=False), nn.ReLU(), nn.Linear(16, CLASSES))
    optimizers = [Muon(model[0].parameters(), 0.02), AdamW(model[2].parameters(), 0.01)]
    with refusal(
        "optimizer is Muon, but its step mixes elements: a param moves along the gradients of others; train what it "
        f"holds with another; {VALID}"
    ):
        made(model, optimizers)


def test_a_sign_beside_adamw() -> None:
    model = student()
    optimizers = [Rprop(model[0].parameters(), 0.02), AdamW(model[2].parameters(), 0.01)]  # type: ignore[index]
    with pytest.raises(UserError, match=r"^optimizer is Rprop, but its step has no derivative in the gradient"):
        made(model, optimizers)
