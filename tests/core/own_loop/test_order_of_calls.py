"""A training loop of one's own that calls in another order: what is noticed, and what is no mistake."""

from __future__ import annotations

import re
from typing import Any

import pytest
import torch
from own_loop import Loop, adam, momentum, noisy, student
from torch import nn

from ray_mentor.config import CurriculumConfig, MentorConfig
from ray_mentor.errors import UserError

EVERY_STEP = MentorConfig(update_interval=1, meta_batch_size=16)
LATE = (
    "an optimizer stepped after after_step, which so knows nothing of that step; call after_step once all optimizers "
    "have stepped, before weigh"
)


def refusal(message: str) -> Any:
    return pytest.raises(UserError, match=f"^{re.escape(message)}$")


@pytest.mark.parametrize("curriculum", [CurriculumConfig(), CurriculumConfig(burn_in=0.0)])
def test_after_step_before_the_step(curriculum: CurriculumConfig) -> None:
    loop = Loop(mentor=EVERY_STEP, curriculum=curriculum)
    first, second = noisy(2)
    loop.weigh(*first).backward()
    assert loop.curriculum.after_step() is None
    loop.optimizer.step()
    with refusal(LATE):
        loop.weigh(*second)


def test_after_step_before_one_of_two_steps() -> None:
    """The first of two is seen, and the second would move the student unseen."""
    model = student()
    optimizers = [torch.optim.SGD(model[0].parameters(), 0.1), torch.optim.SGD(model[2].parameters(), 0.1)]  # type: ignore[index]
    loop = Loop(lambda: model, lambda _: optimizers, mentor=EVERY_STEP)  # type: ignore[arg-type,return-value]
    batches = list(noisy(2))
    loop.weigh(*batches[0]).backward()
    optimizers[0].step()
    assert loop.curriculum.after_step() is not None
    optimizers[1].step()
    with refusal(LATE):
        loop.weigh(*batches[1])


def test_another_optimizer_steps_in_the_place_of_the_one_that_was_given() -> None:
    """The curriculum would see no step, so that its mentor would never learn."""
    loop = Loop(mentor=EVERY_STEP)
    other = torch.optim.SGD(loop.student.parameters(), 0.05)
    loop.weigh(*next(noisy(1))).backward()
    other.step()
    with refusal(
        "the student's params have changed since weigh, but by none of the optimizers that the curriculum was given; "
        "give it those that the loop steps"
    ):
        loop.curriculum.after_step()
    other.zero_grad()
    for inputs, labels, ids in noisy(2):
        loop.step(inputs, labels, ids)


def test_a_step_that_nobody_takes_is_no_mistake() -> None:
    """As when a gradient scaler has found an overflow."""
    loop = Loop(mentor=EVERY_STEP)
    loop.weigh(*next(noisy(1))).backward()
    assert loop.curriculum.after_step() is None


def test_steps_on_something_else_are_no_mistake() -> None:
    """A loop may train the student on samples that it does not weigh, between after_step and weigh."""
    loop = Loop(mentor=EVERY_STEP)
    for inputs, labels, ids in noisy(3):
        loop.step(inputs, labels, ids)
        loop.optimizer.zero_grad()
        loop.student(inputs).square().mean().backward()
        loop.optimizer.step()


def test_a_step_that_nobody_took_and_then_one() -> None:
    """As a scaler skips one, or with several micro-batches."""
    loop = Loop(mentor=EVERY_STEP)
    first, second = noisy(2)
    loop.weigh(*first).backward()
    assert loop.curriculum.after_step() is None
    assert loop.step(*second).step == 0


@pytest.mark.parametrize("make_optimizer", [momentum, adam])
@pytest.mark.parametrize("burn_in", [0.0, 0.5])
def test_gradients_that_are_set_to_0_before_after_step(make_optimizer: Any, burn_in: float) -> None:
    loop = Loop(make_optimizer=make_optimizer, mentor=EVERY_STEP, curriculum=CurriculumConfig(burn_in=burn_in))
    loop.weigh(*next(noisy(1))).backward()
    loop.optimizer.step()
    loop.optimizer.zero_grad(set_to_none=False)
    with refusal(
        "the gradients of 4 params (0.weight, 0.bias, 2.weight, ...) were changed between the optimizer's step and "
        "after_step; call after_step before they are cleared by zero_grad, or written over"
    ):
        loop.curriculum.after_step()


@pytest.mark.parametrize("how", ["in place", "another", "none"])
def test_one_gradient_that_is_written_over(how: str) -> None:
    loop = Loop(mentor=EVERY_STEP)
    loop.weigh(*next(noisy(1))).backward()
    loop.optimizer.step()
    param = loop.student[2].weight  # type: ignore[index,union-attr]
    assert isinstance(param, nn.Parameter)
    assert param.grad is not None
    if how == "in place":
        param.grad.mul_(2)
    else:
        param.grad = None if how == "none" else param.grad.clone()
    with pytest.raises(
        UserError, match=r"^the gradients of 1 params \(2\.weight\) were changed between the optimizer's"
    ):
        loop.curriculum.after_step()


def test_gradients_may_be_cleared_where_nobody_looks() -> None:
    loop = Loop(update_interval=5)
    loop.run(1)
    loop.optimizer.zero_grad()
    loop.weigh(*next(noisy(1))).backward()
    loop.optimizer.step()
    loop.optimizer.zero_grad(set_to_none=False)
    assert loop.curriculum.after_step() is not None


def test_what_was_kept_of_gradients_is_let_go() -> None:
    loop = Loop(mentor=EVERY_STEP)
    loop.run(1)
    assert loop.curriculum._steps._gradients == {}
    loop.weigh(*next(noisy(1))).backward()
    loop.optimizer.step()
    assert len(loop.curriculum._steps._gradients) == 4
    loop.curriculum.load_state_dict(loop.curriculum.state_dict())
    assert loop.curriculum._steps._gradients == {}
