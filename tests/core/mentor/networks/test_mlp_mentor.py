"""The tanh mentor's columns, size, start and errors."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor

from ray_mentor.core.mentor.networks import MLPMentor
from ray_mentor.core.step.features import Features
from ray_mentor.errors import UserError

ROWS = Features(
    loss=torch.tensor([0.5, 30.0]),
    loss_difference=torch.tensor([-1.0, 2.0]),
    label=torch.tensor([2, 0]),
    progress=torch.tensor([0.25, 0.25]),
    history=torch.tensor([[0.1, 0.2], [0.3, 0.4]]),
)


def mlp(features: tuple[str, ...] = ("loss",), hidden: tuple[int, ...] = (4,), **changes: Any) -> MLPMentor:
    options: dict[str, Any] = {"n_classes": 3, "history_length": 2, "initial_sample_weight": 0.9, "seed": 0, **changes}
    return MLPMentor(features, hidden, **options)


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (("loss",), [[0.5], [30.0]]),
        (("loss_difference", "loss"), [[-1.0, 0.5], [2.0, 30.0]]),
        (("label", "progress"), [[0.0, 0.0, 1.0, 0.25], [1.0, 0.0, 0.0, 0.25]]),
        (("history", "loss"), [[0.1, 0.2, 0.5], [0.3, 0.4, 30.0]]),
    ],
)
def test_columns_come_in_the_order_of_the_features(names: tuple[str, ...], expected: list[list[float]]) -> None:
    torch.testing.assert_close(mlp(names).columns(ROWS), torch.tensor(expected))


def n_params(mentor: MLPMentor) -> int:
    return sum(p.numel() for p in mentor.parameters())


def test_the_count_of_params() -> None:
    assert n_params(mlp(("loss",), (100,))) == 301  # Meta-Weight-Net's 1-100-1
    assert n_params(mlp(("loss", "label", "history"), (5, 4))) == (6 * 5 + 5) + (5 * 4 + 4) + (4 + 1)
    assert n_params(mlp(("loss",), ())) == 2


def test_it_is_a_tanh_network() -> None:
    mentor = mlp(("loss", "loss_difference"), (6,)).double()
    with torch.no_grad():
        mentor.head.weight.fill_(0.3)
    hidden, x = mentor.body[0], mentor.columns(ROWS)
    assert isinstance(hidden.weight, Tensor)
    expected = torch.tanh(x @ hidden.weight.T + hidden.bias) @ mentor.head.weight.T + math.log(9)
    torch.testing.assert_close(mentor(ROWS), expected.squeeze(1), rtol=1e-6, atol=1e-6)


def test_many_classes_do_not_shrink_the_loss_columns_params() -> None:
    few = mlp(("loss", "label"), (200,), n_classes=2)
    many = mlp(("loss", "label"), (200,), n_classes=1000)
    spread = [float(mentor.body[0].weight[:, 0].detach().abs().max()) for mentor in (few, many)]
    assert spread == pytest.approx([2**-0.5, 2**-0.5], rel=0.05)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            {"features": ("lose",)},
            r"^unknown mentor feature 'lose'; valid: loss, loss_difference, label, progress, his",
        ),
        ({"features": ()}, r"^features is \(\), but a mentor needs at least one; valid: loss, loss_difference, label"),
        (
            {"features": ("loss", "loss")},
            r"^features is \('loss', 'loss'\), but a feature may be named only once; drop the repeats$",
        ),
        (
            {"hidden": (4, 0)},
            r"^hidden is \(4, 0\), but every width must be at least 1; use \(\) for a linear mentor$",
        ),
        ({"n_classes": 0}, r"^n_classes is 0, but it must be at least 1; give the number of classes$"),
        (
            {"features": ("history",), "history_length": 0},
            r"^history_length is 0, but the feature 'history' needs at least 1; "
            r"give a history_length or drop the feature$",
        ),
    ],
)
def test_bad_arguments_are_refused(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        mlp(**arguments)


def test_a_history_of_another_length_is_refused() -> None:
    message = (
        r"^the features hold a history of 2 losses, but this mentor was built for history_length 5; "
        r"use the same history_length for both$"
    )
    with pytest.raises(UserError, match=message):
        mlp(("history",), history_length=5)(ROWS)
