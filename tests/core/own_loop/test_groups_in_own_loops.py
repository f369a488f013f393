"""Group DRO in a training loop of one's own: the released algorithm's steps, how it goes on, and what is refused."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import pytest
import torch
from own_loop import CLASSES, blobs, momentum, params, per_sample, student
from torch import Tensor

from ray_mentor.config import CurriculumConfig
from ray_mentor.core.own_loop.learned_curriculum import LearnedCurriculum
from ray_mentor.errors import UserError

RATE = 0.5
SIZES = {"north": 40, "south": 8, "nobody's": 0}
DRO = CurriculumConfig("group-dro", group_rate=RATE, burn_in=0.0)
STEPS = 6


class Grouped:
    """A loop whose batches are of two groups, of which the second step's has one alone."""

    def __init__(self, **changes: Any) -> None:
        self.student = student().double()
        self.optimizer = momentum(self.student)
        arguments = {"total_steps": STEPS, "curriculum": DRO, "group_sizes": SIZES, **changes}
        meta = blobs(9, 0)[0].double(), blobs(9, 0)[1]
        self.curriculum = LearnedCurriculum(self.student, self.optimizer, meta, **arguments)

    def step(self, number: int) -> None:
        inputs, labels, groups = drawn(number)
        losses = per_sample(self.student(inputs), labels)
        loss = self.curriculum.weigh(losses, labels=labels, groups=groups)
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        self.curriculum.after_step()


def drawn(step: int) -> tuple[Tensor, Tensor, Tensor]:
    inputs, labels = blobs(7, 10 + step)
    return inputs.double(), labels, torch.zeros(7, dtype=torch.long) if step == 1 else (torch.arange(7) > 4).long()


def released(steps: int) -> tuple[torch.nn.Module, Tensor]:
    """Losses of groups first, then q, then Σ q·L over those that are there."""
    model = student().double()
    optimizer, q = momentum(model), torch.tensor([0.5, 0.5], dtype=torch.float64)
    for step in range(steps):
        inputs, labels, groups = drawn(step)
        losses = per_sample(model(inputs), labels)
        there = [group for group in range(2) if (groups == group).any()]
        means = torch.stack([losses[groups == group].mean() for group in there])
        q[there] *= torch.exp(RATE * means.detach())
        q /= q.sum()
        optimizer.zero_grad()
        ((q[there] * means).sum() / q[there].sum()).backward()
        optimizer.step()
    return model, q


def test_its_steps_are_those_of_the_algorithm() -> None:
    loop = Grouped()
    for step in range(STEPS):
        loop.step(step)
    model, q = released(STEPS)
    shares = loop.curriculum.group_shares
    assert shares is not None
    assert list(shares) == list(SIZES)
    assert list(shares.values()) == pytest.approx([*q.tolist(), 0], abs=1e-14)
    for name, param in params(loop.student).items():
        torch.testing.assert_close(param, params(model)[name], rtol=0, atol=1e-13)


def test_it_goes_on_with_the_same_bits() -> None:
    whole, first = Grouped(), Grouped()
    for step in range(STEPS):
        whole.step(step)
    for step in range(3):
        first.step(step)
    state = copy.deepcopy(first.curriculum.state_dict())
    rest = Grouped()
    rest.student.load_state_dict(first.student.state_dict())
    rest.optimizer.load_state_dict(copy.deepcopy(first.optimizer.state_dict()))
    rest.curriculum.load_state_dict(state)
    for step in range(3, STEPS):
        rest.step(step)
    assert rest.curriculum.group_shares == whole.curriculum.group_shares
    assert all(torch.equal(found, params(whole.student)[name]) for name, found in params(rest.student).items())
    with pytest.raises(UserError):
        Grouped(group_sizes={"north": 1}).curriculum.load_state_dict(state)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"group_sizes": None}, "method is 'group-dro', and group_sizes was not given; give the training samples of"),
        ({"curriculum": CurriculumConfig("uniform")}, "method is 'uniform', and group_sizes was given; give"),
        ({"group_sizes": {"north": 0}}, "group_sizes is {'north': 0}, but it must hold a number of training samples"),
        ({"group_sizes": {"north": 1.5}}, "group_sizes is {'north': 1.5}, but it must hold a number of"),
    ],
)
def test_sizes_that_are_none_are_refused(changes: dict[str, Any], says: str) -> None:
    with pytest.raises(UserError) as raised:
        Grouped(**changes)
    assert says in str(raised.value)


@pytest.mark.parametrize(
    ("groups", "says"),
    [
        (None, "group_sizes was given, but weigh got no groups; give both to group-dro, and neither to another method"),
        ([0.0, 1.0], "groups is torch.float32 of shape (2,), but it must hold the number of a group for each of the 2"),
        ([0], "groups is torch.int64 of shape (1,), but"),
        ([0, 3], "groups run from 0 to 3, but they are places in group_sizes"),
        ([-1, 0], "groups run from -1 to 0, but"),
        ([0, 2], "whose sizes are [40, 8, 0], of those that have samples"),
    ],
)
def test_groups_that_are_none_are_refused(groups: Sequence[float] | None, says: str) -> None:
    loop = Grouped()
    inputs, labels = blobs(2, 0)
    losses = per_sample(loop.student(inputs.double()), labels)
    with pytest.raises(UserError) as raised:
        loop.curriculum.weigh(losses, labels=labels, groups=None if groups is None else torch.tensor(groups))
    assert says in str(raised.value)


def test_another_method_is_told_of_no_groups() -> None:
    loop = Grouped(curriculum=CurriculumConfig("uniform"), group_sizes=None)
    assert loop.curriculum.group_shares is None
    inputs, labels = blobs(CLASSES, 0)
    losses = per_sample(loop.student(inputs.double()), labels)
    with pytest.raises(UserError, match="group_sizes was not given, but weigh got groups"):
        loop.curriculum.weigh(losses, labels=labels, groups=torch.zeros(CLASSES, dtype=torch.long))
