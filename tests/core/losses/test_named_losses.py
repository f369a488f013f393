"""Losses by name: hand-computed values, the identities between them, and slopes that keep their digits."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from ray_mentor import CurriculumConfig, LearnedCurriculum, UserError
from ray_mentor.core.losses import ROBUST, cross_entropy, make_loss

P = torch.tensor([[0.7, 0.2, 0.1], [0.05, 0.9, 0.05], [1 / 3, 1 / 3, 1 / 3]], dtype=torch.float64)
LABELS = torch.tensor([0, 2, 1])
P_Y = (0.7, 0.05, 1 / 3)


def entropy(p: list[float]) -> float:
    return -sum(q * math.log(q) for q in p)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("cross-entropy", [-math.log(p) for p in P_Y]),
        ("gce", [(1 - p**0.7) / 0.7 for p in P_Y]),
        ("gce:0.3", [(1 - p**0.3) / 0.3 for p in P_Y]),
        ("mae", [2 * (1 - p) for p in P_Y]),
        ("sce", [-0.1 * math.log(p) + (1 - p) * -math.log(1e-4) for p in P_Y]),
        ("sce:6:0.5", [-6 * math.log(p) + 0.5 * (1 - p) * -math.log(1e-4) for p in P_Y]),
        ("focal", [-((1 - p) ** 2) * math.log(p) for p in P_Y]),
        ("focal:1", [-(1 - p) * math.log(p) for p in P_Y]),
        (
            "bootstrap-soft",
            [-0.95 * math.log(p) + 0.05 * entropy(row) for p, row in zip(P_Y, P.tolist(), strict=True)],
        ),
        ("bootstrap-hard:0.6", [-math.log(0.7), -0.6 * math.log(0.05) - 0.4 * math.log(0.9), math.log(3)]),
        (
            "label-smoothing:0.3",
            [-0.7 * math.log(p) - 0.1 * sum(math.log(q) for q in row) for p, row in zip(P_Y, P.tolist(), strict=True)],
        ),
    ],
)
def test_values_by_hand(text: str, expected: list[float]) -> None:
    found = make_loss(text)(P.log() + 3.0, LABELS)  # logits are log p and a constant
    torch.testing.assert_close(found, torch.tensor(expected, dtype=torch.float64), rtol=1e-12, atol=1e-12)


def samples(scale: float = 3.0) -> tuple[Tensor, Tensor]:
    draw = torch.Generator().manual_seed(0)
    logits = scale * torch.randn(40, 5, generator=draw, dtype=torch.float64)
    return logits.requires_grad_(), torch.randint(5, (40,), generator=draw)


def slope(text: str) -> tuple[Tensor, Tensor]:
    logits, labels = samples()
    losses = make_loss(text)(logits, labels)
    return losses.detach(), torch.autograd.grad(losses.sum(), logits)[0]


@pytest.mark.parametrize(
    ("one", "other", "factor"),
    [
        ("gce:0", "cross-entropy", 1.0),
        ("gce:1", "mae", 0.5),
        ("sce:1:0", "cross-entropy", 1.0),
        ("sce:0:2", "mae", -math.log(1e-4)),
        ("bootstrap-soft:1", "cross-entropy", 1.0),
        ("bootstrap-hard:1", "cross-entropy", 1.0),
        ("label-smoothing:0", "cross-entropy", 1.0),
    ],
)
def test_one_is_another(one: str, other: str, factor: float) -> None:
    for found, known in zip(slope(one), slope(other), strict=True):
        torch.testing.assert_close(found, factor * known, rtol=1e-12, atol=1e-14)


def test_gce_nears_cross_entropy() -> None:
    for found, known in zip(slope("gce:1e-9"), slope("cross-entropy"), strict=True):
        torch.testing.assert_close(found, known, rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize("text", ["cross-entropy", *(name for name in ROBUST if name != "elr")])
def test_the_slope_is_that_of_the_values(text: str) -> None:
    logits, labels = samples(1.0)
    loss = make_loss(text, class_sizes=[100, 50, 20, 7, 1])
    assert torch.autograd.gradcheck(lambda z: loss(z, labels), (logits,))


def test_label_smoothing_is_pytorchs() -> None:
    logits, labels = samples()
    known = functional.cross_entropy(logits, labels, reduction="none", label_smoothing=0.1)
    torch.testing.assert_close(make_loss("label-smoothing")(logits, labels), known, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("text", ["gce", "mae", "sce", "focal"])
@pytest.mark.parametrize("nats", [1e-2, 40.0])
def test_slopes_keep_their_digits(text: str, nats: float) -> None:
    """In float32, of labels that are next to certain and all but impossible."""

    def found(dtype: torch.dtype) -> Tensor:
        # p_y = exp(-nats), of two classes
        z = torch.tensor([[-nats, math.log(-math.expm1(-nats))]], dtype=dtype, requires_grad=True)
        return torch.autograd.grad(make_loss(text)(z, torch.tensor([0])).sum(), z)[0].double()

    single, double = found(torch.float32), found(torch.float64)
    assert double.abs().min() > 0
    torch.testing.assert_close(single, double, rtol=1e-4, atol=0.0)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("gcee", "unknown loss 'gcee'; valid: cross-entropy, gce, "),
        ("gce:2", r"q of the loss gce is 2, but it must be in \[0, 1\]"),
        ("gce:nan", "q of the loss gce is nan"),
        ("gce:0.5:1", "gce takes q"),
        ("mae:1", "mae takes no number"),
        ("gce-truncated:0.7:1", r"k of the loss gce-truncated is 1, but it must be in \[0, 0.999999\]"),
        ("gce-truncated:2", r"q of the loss gce-truncated is 2, but it must be in \[0, 1\]"),
        ("gce-truncated:0.7:0.5:0.3:1", "gce-truncated takes q:k:start"),
        ("cross-entropy:1", "cross-entropy takes no number"),
        ("sce:a", "behind sce there must be numbers, alpha:beta"),
        ("sce:-1", "alpha of the loss sce is -1, but it must be at least 0"),
        ("focal:0.5", "gamma of the loss focal is 0.5, but it must be at least 1"),
    ],
)
def test_what_is_none_is_refused(text: str, says: str) -> None:
    with pytest.raises(UserError, match=says):
        make_loss(text)


def test_a_loop_of_ones_own_computes_it() -> None:
    student = torch.nn.Linear(2, 2)
    meta = torch.zeros(4, 2), torch.zeros(4, dtype=torch.long)
    optimizer = torch.optim.SGD(student.parameters(), 0.1)
    with pytest.raises(UserError, match=r"compute make_loss\('gce'\)\(logits, labels\)"):
        LearnedCurriculum(student, optimizer, meta, total_steps=10, curriculum=CurriculumConfig(loss="gce"))


def test_cross_entropy_is_what_it_was() -> None:
    assert make_loss("cross-entropy") is cross_entropy
