"""A student that is changed while it is trained, by whom it belongs to: influences stay those of real steps."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from own_loop import CLASSES, Loop, blobs, noisy, per_sample, student
from torch import Tensor, nn
from torch.optim import SGD

from ray_mentor.config import MentorConfig
from ray_mentor.errors import UserError

META = (blobs(16, 1)[0].double(), blobs(16, 1)[1])


def loop_of(
    make_optimizer: Callable[[nn.Module], torch.optim.Optimizer], estimator: str = "jvp", **changes: Any
) -> Loop:
    settings = MentorConfig(update_interval=1, meta_batch_size=16, meta_loss="loss", estimator=estimator)
    return Loop(lambda: student().double(), make_optimizer, meta_loader=META, mentor=settings, **changes)


def more_layers(loop: Loop) -> None:
    more = nn.Sequential(nn.Tanh(), nn.Linear(CLASSES, CLASSES)).double()
    loop.student.extend(more)  # type: ignore[operator]
    loop.optimizer.add_param_group({"params": more.parameters(), "lr": 0.2})


def another_head(loop: Loop) -> None:
    loop.student[2] = nn.Linear(16, CLASSES).double()  # type: ignore[index]
    loop.optimizer.param_groups[0]["params"] = list(loop.student.parameters())


def assigned(loop: Loop) -> None:
    loop.student.load_state_dict(copy.deepcopy(loop.student.state_dict()), assign=True)
    loop.optimizer.param_groups[0]["params"] = list(loop.student.parameters())


def unfrozen(loop: Loop) -> None:
    loop.student[0].requires_grad_(True)  # type: ignore[index]


@pytest.mark.parametrize("estimator", ["jvp", "unrolled"])
@pytest.mark.parametrize("change", [more_layers, another_head, assigned, unfrozen])
def test_params_that_come_later(change: Callable[[Loop], None], estimator: str) -> None:
    loop = loop_of(lambda model: SGD(model.parameters(), 0.1, momentum=0.9), estimator)
    loop.student[0].requires_grad_(change is not unfrozen)  # type: ignore[index]
    first, *others = ((inputs.double(), labels) for inputs, labels, _ in noisy(3))
    loop.step(*first)
    change(loop)
    for batch in others:
        before = copy.deepcopy((loop.student, loop.optimizer))
        loss = loop.weigh(*batch)
        normalised = loop.curriculum._weighed.normalised.clone()  # type: ignore[union-attr]
        found = loop.finish(loss).influence
        truth = by_real_steps(*before, batch, normalised, META)
        assert float((found - truth).norm() / truth.norm()) <= 1e-5


def by_real_steps(
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    batch: tuple[Tensor, Tensor],
    normalised: Tensor,
    meta: tuple[Tensor, Tensor],
    mask: Tensor | None = None,
) -> Tensor:
    """(M after a step with ŵ_i + h − M after one with ŵ_i − h)/2h, each of deep copies.

    Args:
        mask: of the first layer's gradient; copies have no hooks.
    """
    h = 1e-5

    def meta_loss(more: Tensor) -> float:
        copied, its_optimizer = copy.deepcopy((model, optimizer))
        its_optimizer.zero_grad()
        ((normalised + more) * per_sample(copied(batch[0]), batch[1])).sum().backward()
        if mask is not None:
            copied[0].weight.grad *= mask  # type: ignore[index,operator]
        its_optimizer.step()
        return float(per_sample(copied(meta[0]), meta[1]).mean().detach())

    each = h * torch.eye(len(normalised), dtype=torch.float64)
    return torch.tensor([(meta_loss(one) - meta_loss(-one)) / (2 * h) for one in each], dtype=torch.float64)


def frozen(loop: Loop) -> None:
    loop.student[0].requires_grad_(False)  # type: ignore[index]
    loop.student[0].zero_grad()  # type: ignore[index]


def set_to_0(loop: Loop) -> None:
    for param in loop.student[0].parameters():  # type: ignore[index]
        param.grad.zero_()


def taken_away(loop: Loop) -> None:
    for param in loop.student[0].parameters():  # type: ignore[index]
        param.grad = None


@pytest.mark.parametrize("estimator", ["jvp", "unrolled", "finite_difference"])
@pytest.mark.parametrize("withhold", [set_to_0, taken_away])
def test_gradients_that_never_reach_the_optimizer(withhold: Callable[[Loop], None], estimator: str) -> None:
    """A layer that is not to move for a while: the influences are those of a layer that is frozen."""
    found = []
    for hold in (frozen, withhold):
        loop = loop_of(lambda model: SGD(model.parameters(), 0.1), estimator)
        inputs, labels, _ = next(noisy(1))
        if hold is frozen:
            frozen(loop)
        loss = loop.weigh(inputs.double(), labels)
        loss.backward()
        if hold is not frozen:
            hold(loop)
        loop.optimizer.step()
        record = loop.curriculum.after_step()
        assert record is not None
        assert loop.curriculum.guards.skipped_updates == 0
        found.append(record.influence)
    assert float((found[1] - found[0]).norm() / found[0].norm()) <= 1e-6


def test_gradients_that_are_masked_by_a_hook() -> None:
    """The hook is on the meta gradient's way, too: along what it holds back there is no influence."""
    mask = torch.rand(16, 3, generator=torch.Generator().manual_seed(0)).double() < 0.5
    loop = loop_of(lambda model: SGD(model.parameters(), 0.1, momentum=0.9))
    loop.student[0].weight.register_hook(lambda gradient: gradient * mask)  # type: ignore[index,operator]
    for inputs, labels, _ in noisy(2):
        before = copy.deepcopy((loop.student, loop.optimizer))
        loss = loop.weigh(inputs.double(), labels)
        normalised = loop.curriculum._weighed.normalised.clone()  # type: ignore[union-attr]
        found = loop.finish(loss).influence
        truth = by_real_steps(*before, (inputs.double(), labels), normalised, META, mask)
        assert float((found - truth).norm() / truth.norm()) <= 1e-5
    assert loop.curriculum.guards.skipped_updates == 0


def with_scales(scales: nn.Parameter) -> Callable[[Tensor, Tensor], Tensor]:
    return lambda outputs, labels: per_sample(outputs * scales, labels)


@pytest.mark.parametrize("is_early", [False, True])
def test_params_of_the_loss_that_step_by_themselves(is_early: bool) -> None:
    """The losses are computed again: with the params that they had."""
    scales = nn.Parameter(torch.ones(CLASSES, dtype=torch.float64))
    loss, others = with_scales(scales), SGD([scales], 0.1)
    loop = loop_of(lambda model: SGD(model.parameters(), 0.1), loss=loss)
    for inputs, labels, _ in noisy(3):
        weighed = loop.curriculum.weigh(loss(loop.student(inputs.double()), labels), labels=labels)
        for optimizer in (loop.optimizer, others):
            optimizer.zero_grad()
        weighed.backward()
        loop.optimizer.step()
        if is_early:
            others.step()
            with pytest.raises(UserError, match=r"let their optimizer step after after_step"):
                loop.curriculum.after_step()
            return
        assert loop.curriculum.after_step() is not None
        others.step()
    assert loop.curriculum.guards.skipped_updates == 0
    assert not torch.equal(scales, torch.ones_like(scales))
