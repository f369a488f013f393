"""How a student is optimised: warm-up, frozen params, the last layer's rate."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from ray_mentor.config import StudentConfig
from ray_mentor.core.student.optimizers import make_optimizer, make_schedule
from ray_mentor.core.student.pair import pair_of
from ray_mentor.core.student.trained import frozen, last_layer, trained
from ray_mentor.errors import UserError


def net() -> nn.Module:
    body = nn.Sequential(nn.Linear(4, 5), nn.BatchNorm1d(5), nn.ReLU())
    return nn.Sequential(body, nn.Linear(5, 3), nn.Identity())


def rates(schedule: str, warm_up: float, total: int = 20, rate: float = 0.5) -> list[float]:
    optimizer = torch.optim.SGD([{"params": [nn.Parameter(torch.ones(1))]}], lr=rate)
    made, found = make_schedule(optimizer, schedule, total, warm_up), []
    for _ in range(total):
        found.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        made.step()
    return found


class HeadFirst(nn.Module):
    """Its last layer is the first that is made, and one that is made later is not used."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(5, 3)
        self.body = nn.Sequential(nn.Linear(4, 5), nn.BatchNorm1d(5), nn.Dropout(0.5))
        self.scale = nn.LayerNorm(3)
        self.unused = nn.Linear(4, 3)

    def forward(self, inputs: Tensor) -> Tensor:
        found: Tensor = self.scale(self.head(self.body(inputs)))
        return found


class Pooled(nn.Module):
    """A convolution makes the outputs, which are pooled; and there is a param of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.shift = nn.Parameter(torch.zeros(3, 1))
        self.head = nn.Conv2d(8, 3, 1)
        self.stem = nn.Conv2d(1, 8, 3)

    def forward(self, images: Tensor) -> Tensor:
        return self.head(self.stem(images)).mean((2, 3)) + self.shift[:, 0]


# The last layer


@pytest.mark.parametrize(
    ("build", "shape", "head"),
    [(HeadFirst, (4,), "head"), (Pooled, (1, 6, 6), "head"), (net, (4,), "1"), (HeadFirst, (9,), "unused")],
)
def test_the_last_layer_makes_the_outputs_wherever_it_was_made(
    build: Callable[[], nn.Module], shape: tuple[int, ...], head: str
) -> None:
    """Of inputs that it can't take nothing is heard."""
    student, inputs = build(), torch.ones(2, *shape)
    state, drawn = {name: value.clone() for name, value in student.state_dict().items()}, torch.get_rng_state()
    assert sorted(last_layer(student, inputs)) == [f"{head}.bias", f"{head}.weight"]
    config = StudentConfig(learning_rate_head=0.5)
    groups: Any = trained(student, config, inputs)
    assert {id(param) for param in groups[1]["params"]} == {id(p) for p in student.get_submodule(head).parameters()}
    assert all(torch.equal(value, state[name]) for name, value in student.state_dict().items())
    assert torch.equal(torch.get_rng_state(), drawn)
    assert all(module.training for module in student.modules())
    assert not any(module._forward_hooks for module in student.modules())


# Warm-up


@pytest.mark.parametrize("warm_up", [4, 0.2])
def test_it_rises_in_a_line_and_falls_as_the_schedule_says(warm_up: float) -> None:
    found = rates("cosine", warm_up)
    assert found[:4] == pytest.approx([0.125, 0.25, 0.375, 0.5])
    assert found[4:] == pytest.approx([0.5 * (1 + math.cos(math.pi * t / 16)) / 2 for t in range(16)])
    assert rates("constant", warm_up)[4:] == [0.5] * 16


def test_without_it_the_schedule_is_as_it_was() -> None:
    expected = [0.5 * ((1 + math.cos(math.pi * t / 20)) / 2) for t in range(20)]
    assert rates("cosine", 0.0) == pytest.approx(expected, rel=1e-12)


def test_it_may_be_longer_than_training() -> None:
    assert rates("cosine", 40) == pytest.approx([0.5 * (t + 1) / 40 for t in range(20)])


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"warm_up": -0.1}, "warm_up is -0.1, but it must be a share of training, below 1, or a whole number of steps"),
        ({"warm_up": 1.5}, "warm_up is 1.5, but it must be a share of training, below 1, or a whole number of steps"),
        ({"clip": -1.0}, "clip is -1.0, but it must be at least 0, which clips nothing"),
        ({"learning_rate_head": 0.0}, "learning_rate_head is 0.0, but it must be above 0"),
    ],
)
def test_what_no_setting_can_be(values: dict[str, float], says: str) -> None:
    with pytest.raises(UserError) as raised:
        StudentConfig(**values)  # type: ignore[arg-type]
    assert str(raised.value) == says


# Frozen params


def test_frozen_params_are_those_whose_names_match() -> None:
    student = frozen(net, ("0.0.*", "*bias"))
    trained_names = [name for name, param in student.named_parameters() if param.requires_grad]
    assert trained_names == ["0.1.weight", "1.weight"]


def test_both_of_two_students_have_them() -> None:
    pair = pair_of(partial(frozen, net, ("0.*",)))
    assert [name for name, param in pair.named_parameters() if param.requires_grad] == [
        f"{each}.1.{kind}" for each in ("first", "second") for kind in ("weight", "bias")
    ]


def test_a_pattern_that_matches_nothing() -> None:
    with pytest.raises(UserError) as raised:
        frozen(net, ("layer1.*",))
    assert str(raised.value) == (
        "freeze is 'layer1.*', but no param of the student is called so; they are 0.0.weight, 0.0.bias, 0.1.weight, "
        "0.1.bias, 1.weight, 1.bias; give a name or a pattern of them, as in --freeze 0.*"
    )


def test_something_must_be_left_to_train() -> None:
    rest = "which leaves nothing to train; leave some params out"
    with pytest.raises(UserError, match=rf"^freeze is '\*', {rest}$"):
        frozen(net, ("*",))
    with pytest.raises(UserError, match=rf"^freeze is '\*.weight', '\*.bias', {rest}$"):
        frozen(net, ("*.weight", "*.bias"))


# The last layer's rate


def test_the_last_layer_is_the_last_that_has_params() -> None:
    assert last_layer(net()) == ["1.weight", "1.bias"]


def test_the_last_layer_has_its_rate_and_the_schedule() -> None:
    config, student = StudentConfig(learning_rate=0.1, learning_rate_head=1.0), net()
    optimizer = make_optimizer(trained(student, config), config)
    body, head = optimizer.param_groups
    assert (body["lr"], head["lr"], body["momentum"], head["momentum"]) == (0.1, 1.0, 0.9, 0.9)
    assert [id(param) for param in head["params"]] == [id(param) for param in student[1].parameters()]
    assert len(body["params"]) == 4
    make_schedule(optimizer, "cosine", 10, 2)
    assert [group["lr"] for group in optimizer.param_groups] == [0.05, 0.5]


def test_both_of_two_students_have_it() -> None:
    config = StudentConfig(learning_rate_head=1.0)
    groups = make_optimizer(trained(pair_of(net), config), config).param_groups
    assert [len(group["params"]) for group in groups] == [8, 4]


def test_a_frozen_body_leaves_one_group() -> None:
    config = StudentConfig(learning_rate_head=1.0)
    (group,) = make_optimizer(trained(frozen(net, ("0.*",)), config), config).param_groups
    assert (group["lr"], len(group["params"])) == (1.0, 2)


def test_without_a_rate_of_its_own_there_is_one_list() -> None:
    assert [type(param) for param in trained(net(), StudentConfig())] == [nn.Parameter] * 6
