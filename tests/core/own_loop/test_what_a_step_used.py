"""Influences are those of the step that was taken: with the settings it had, and of that step alone."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
import torch
from own_loop import Loop, blobs, noisy, student
from torch import Tensor, nn
from torch.optim import SGD, Adam, Optimizer

from ray_mentor.config import CurriculumConfig, MentorConfig
from ray_mentor.errors import UserError

TWICE = (
    "an optimizer stepped twice since weigh, but influences are those of one step; add the gradients of both before "
    "one optimizer.step(), or take the other step between after_step and weigh"
)


def two_groups(model: nn.Module) -> Optimizer:
    return SGD([{"params": layer.parameters()} for layer in (model[0], model[2])], lr=0.0, momentum=0.9)  # type: ignore[index]


def in_float64(make_optimizer: Callable[[nn.Module], Optimizer], estimator: str = "jvp") -> Loop:
    inputs, labels = blobs(16, 1)
    settings = MentorConfig(update_interval=1, meta_batch_size=16, meta_loss="loss", estimator=estimator)
    return Loop(lambda: student().double(), make_optimizer, meta_loader=(inputs.double(), labels), mentor=settings)


def influences(estimator: str, *, right_before_the_step: bool) -> list[Tensor]:
    """Of three steps whose groups' rates change differently."""
    loop = in_float64(two_groups, estimator)
    found = []
    for step, (inputs, labels, _) in enumerate(noisy(3)):
        rates = (0.01 * (step + 1), 0.1 * (step + 1) ** 2)
        if not right_before_the_step:
            set_rates(loop.optimizer, *rates)
        loss = loop.weigh(inputs.double(), labels)
        if right_before_the_step:
            set_rates(loop.optimizer, *rates)
        found.append(loop.finish(loss).influence)
    return found


def set_rates(optimizer: Optimizer, *rates: float) -> None:
    for group, rate in zip(optimizer.param_groups, rates, strict=True):
        group["lr"] = rate


@pytest.mark.parametrize("estimator", ["jvp", "unrolled", "finite_difference", "last_layer"])
def test_a_rate_that_is_set_right_before_the_step(estimator: str) -> None:
    """As a loop with several micro-batches a step does."""
    early = influences(estimator, right_before_the_step=False)
    late = influences(estimator, right_before_the_step=True)
    for found, expected in zip(late, early, strict=True):
        assert torch.equal(found, expected)
        assert float(expected.abs().max()) > 1e-3


def test_settings_that_a_step_changes_are_those_it_had() -> None:
    """Of an optimizer that has a schedule inside."""

    class Fading(SGD):
        def step(self, closure: None = None) -> None:  # type: ignore[override]
            super().step(closure)
            self.param_groups[0]["lr"] /= 2

    def first(make: type[SGD]) -> Tensor:
        loop = in_float64(lambda model: make(model.parameters(), lr=0.1))
        inputs, labels, _ = next(noisy(1))
        return loop.step(inputs.double(), labels).influence

    torch.testing.assert_close(first(Fading), first(SGD), rtol=1e-6, atol=0)


@pytest.mark.parametrize("burn_in", [0.0, 0.5])
def test_two_steps_of_one_optimizer(burn_in: float) -> None:
    """As a penalty makes them that has not only a backward pass, but a step of its own."""
    loop = Loop(student, lambda model: Adam(model.parameters(), 0.01), curriculum=CurriculumConfig(burn_in=burn_in))
    first, second = noisy(2)
    loop.weigh(*first).backward()
    loop.optimizer.step()
    loop.optimizer.zero_grad()
    sum(param.square().sum() for param in loop.student.parameters()).backward()  # type: ignore[union-attr]
    loop.optimizer.step()
    with pytest.raises(UserError, match=f"^{re.escape(TWICE)}$"):
        loop.curriculum.after_step()
    loop.step(*second)  # it goes on


def test_one_step_along_both_gradients() -> None:
    """What the refusal says to do."""
    loop = Loop()
    loop.weigh(*next(noisy(1))).backward()
    (0.01 * sum(param.square().sum() for param in loop.student.parameters())).backward()  # type: ignore[union-attr]
    loop.optimizer.step()
    assert loop.curriculum.after_step() is not None


def test_a_step_that_raises_was_none() -> None:
    """And the next one counts."""
    loop = Loop(mentor=MentorConfig(update_interval=1, meta_batch_size=16))
    loop.weigh(*next(noisy(1))).backward()

    def fails() -> None:
        raise ValueError("no more")

    with pytest.raises(ValueError, match=r"^no more$"):
        loop.optimizer.step(fails)  # type: ignore[arg-type]
    assert loop.curriculum.after_step() is None
    assert loop.run(1)[0].step == 0


def clamp_data(param: nn.Parameter) -> None:
    param.data.clamp_(-0.2, 0.2)


@torch.no_grad()
def clamp(param: nn.Parameter) -> None:
    param.clamp_(-0.2, 0.2)


@torch.no_grad()
def average(param: nn.Parameter) -> None:
    param.lerp_(torch.ones_like(param), 0.5)


ELSEWHERE = (
    "the student's params were written to between the optimizer's step and after_step, but influences are those of the "
    "optimizer's step; call after_step right after it, and before whatever else changes params (clamping them, "
    "averaging them)"
)


@pytest.mark.parametrize("write", [clamp_data, clamp, average])
def test_params_that_somebody_else_moves_after_the_step(write: Callable[[nn.Parameter], None]) -> None:
    """D would be that of the optimizer's step alone: an element that is clamped does not answer to any gradient."""
    loop = Loop(mentor=MentorConfig(update_interval=1, meta_batch_size=16))
    first, second, third = noisy(3)
    for when in ("after", "before"):
        loop.weigh(*(first if when == "after" else second)).backward()
        loop.optimizer.step()
        if when == "after":
            assert loop.curriculum.after_step() is not None
        for param in loop.student.parameters():
            write(param)
    with pytest.raises(UserError, match=f"^{re.escape(ELSEWHERE)}$"):
        loop.curriculum.after_step()
    loop.step(*third)  # it goes on


def test_where_nobody_looks_params_may_be_moved_at_any_time() -> None:
    loop = Loop(mentor=MentorConfig(update_interval=2, meta_batch_size=16))
    first, second = noisy(2)
    loop.step(*first)
    loop.weigh(*second).backward()
    loop.optimizer.step()
    for param in loop.student.parameters():
        clamp(param)
    assert loop.curriculum.after_step() is not None
