"""Forward correction: hand-computed values, its matrix by hand, when it is found, and who knows of it afterwards."""

from __future__ import annotations

import math

import pytest
import torch
from thread_ranks import on_ranks
from tiny_run import batch_of, student_of
from tiny_run import curriculum_of as made
from torch import Tensor, nn

from ray_mentor import CurriculumConfig, LearnedCurriculum, UserError
from ray_mentor.core.curriculum import Curriculum
from ray_mentor.core.epoch import EpochEnd
from ray_mentor.core.exchange import AbstractExchange
from ray_mentor.core.losses import cross_entropy
from ray_mentor.core.losses.forward import Forward, transition
from ray_mentor.core.state.checked import read_curriculum_state
from ray_mentor.core.state.curriculum import capture_curriculum, restore_curriculum
from ray_mentor.core.step.evaluation import predicted_by_class

P = torch.tensor([[0.7, 0.2, 0.1], [0.05, 0.9, 0.05], [0.0, 1.0, 0.0]], dtype=torch.float64)
LABELS = torch.tensor([0, 2, 1])
T = torch.tensor([[0.8, 0.2, 0.0], [0.1, 0.9, 0.0], [0.0, 0.3, 0.7]], dtype=torch.float64)
BY_HAND = [0.7 * 0.8 + 0.2 * 0.1, 0.05 * 0.7, 0.9]
"""Σ_k p_k·T_ky, of each sample."""


def with_matrix(matrix: Tensor) -> Forward:
    loss = Forward()
    loss.state = matrix
    return loss


def test_values_by_hand() -> None:
    found = with_matrix(T)(P.log() + 3.0, LABELS)  # logits are log p and a constant
    expected = [-math.log(chance) for chance in BY_HAND]
    torch.testing.assert_close(found, torch.tensor(expected, dtype=torch.float64), rtol=1e-12, atol=1e-12)


def test_of_a_trusted_sample_it_is_the_cross_entropy() -> None:
    found = with_matrix(T)(P.log(), LABELS, torch.tensor([True, False, False]))
    expected = [-math.log(chance) for chance in (0.7, *BY_HAND[1:])]
    torch.testing.assert_close(found, torch.tensor(expected, dtype=torch.float64), rtol=1e-12, atol=1e-12)


def slope_of(loss: Forward, logits: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    leaf = logits.detach().requires_grad_()
    losses = loss(leaf, labels)
    return losses.detach(), torch.autograd.grad(losses.sum(), leaf)[0]


def drawn(scale: float = 3.0) -> tuple[Tensor, Tensor]:
    draw = torch.Generator().manual_seed(0)
    return scale * torch.randn(40, 3, generator=draw, dtype=torch.float64), torch.randint(3, (40,), generator=draw)


def test_with_the_identity_it_is_the_cross_entropy() -> None:
    logits, labels = drawn()
    leaf = logits.clone().requires_grad_()
    losses = cross_entropy(leaf, labels)
    known = losses.detach(), torch.autograd.grad(losses.sum(), leaf)[0]
    for loss in (with_matrix(torch.eye(3, dtype=torch.float64)), Forward()):
        for found, value in zip(slope_of(loss, logits, labels), known, strict=True):
            torch.testing.assert_close(found, value, rtol=1e-12, atol=1e-14)


def test_the_slope_is_that_of_the_values() -> None:
    logits, labels = drawn(1.0)
    loss = with_matrix(T)
    assert torch.autograd.gradcheck(lambda z: loss(z, labels), (logits.requires_grad_(),))


def test_the_matrix_is_the_mean_prediction_by_class() -> None:
    """Of a class that there is no sample of, it is the identity."""
    torch.manual_seed(0)
    student = nn.Sequential(nn.Linear(4, 3), nn.Dropout(0.5)).double()
    inputs, labels = torch.randn(7, 4, dtype=torch.float64), torch.tensor([0, 0, 2, 2, 2, 0, 2])
    with torch.no_grad():
        p = torch.softmax(student[0](inputs), dim=1)  # in evaluation mode: no dropout
    expected = torch.stack([p[labels == 0].mean(0), torch.tensor([0.0, 1.0, 0.0]).double(), p[labels == 2].mean(0)])

    def main(exchange: AbstractExchange) -> Tensor:
        own = slice(None) if exchange.world_size == 1 else slice(0, 3) if exchange.rank == 0 else slice(3, 7)
        return transition(predicted_by_class(student.eval(), [(inputs[own], labels[own])], 3, exchange))

    (alone,), (first, second) = on_ranks(1, main), on_ranks(2, main)
    torch.testing.assert_close(alone, expected, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(first, expected, rtol=1e-12, atol=1e-12)
    assert torch.equal(first, second)


def end_of(done: int, of: int) -> EpochEnd:
    return EpochEnd(done, done / of, lambda: torch.cat([8.0 * T, torch.full((3, 1), 8.0)], dim=1))


@pytest.mark.parametrize(
    ("epochs", "of", "found_at"), [(5, 60, 5), (2, 60, 2), (5, 20, 3), (5, 4, 1), (1, 1, 1), (100, 60, 9)]
)
def test_it_is_found_once_when_warm_up_ends(epochs: float, of: int, found_at: int) -> None:
    """After so many epochs, or 15 % of them."""
    loss = Forward(epochs)
    for done in range(1, of + 1):
        loss.at_epoch(end_of(done, of))
        assert (loss.state is None) == (done < found_at)
        if done == found_at:
            assert loss.state is not None
            torch.testing.assert_close(loss.state, T)
            first = loss.state
    assert loss.state is first


def curriculum_of(student: nn.Module) -> Curriculum:
    return made(student, loss=Forward(1))


def test_a_state_holds_it() -> None:
    batch = batch_of(12)
    student, again = student_of(), student_of()
    curriculum, other = curriculum_of(student), curriculum_of(again)
    curriculum.step(batch)
    curriculum.end_epoch(1, lambda: [(batch.inputs, batch.labels)])
    state = capture_curriculum(curriculum, curriculum.history.table)
    again.load_state_dict(student.state_dict())
    restore_curriculum(read_curriculum_state(state.table()), other)
    for each in (curriculum, other):
        each.step(batch)
        each.end_epoch(2, lambda: [(batch.inputs, batch.labels)])
    for found, expected in zip(again.parameters(), student.parameters(), strict=True):
        assert torch.equal(found, expected)
    assert isinstance(other.parts.loss, Forward)
    assert torch.equal(other.parts.loss.state, curriculum.parts.loss.state)  # type: ignore[union-attr,arg-type]


@pytest.mark.parametrize("wrong", [torch.eye(4).double(), -torch.eye(3).double(), torch.ones(3, 3).double()])
def test_a_state_that_could_not_be_its_own_is_refused(wrong: Tensor) -> None:
    curriculum = curriculum_of(student_of())
    table = capture_curriculum(curriculum, curriculum.history.table).table()
    with pytest.raises(UserError, match="what the state's method has found out at the ends of epochs is not what"):
        restore_curriculum(read_curriculum_state({**table, "at_epoch": [wrong]}), curriculum)
    with pytest.raises(UserError, match="at_epoch of the curriculum's state is tensor"):
        read_curriculum_state({**table, "at_epoch": [torch.full((3, 3), torch.nan).double()]})
    with pytest.raises(UserError, match="method and loss must be as they were"):
        restore_curriculum(read_curriculum_state({**table, "at_epoch": []}), curriculum)


def test_only_the_trainer_knows_when_an_epoch_ends() -> None:
    student = nn.Linear(2, 2)
    with pytest.raises(UserError, match="loss is 'forward', which changes when an epoch has ended; only the trainer"):
        LearnedCurriculum(
            student,
            torch.optim.SGD(student.parameters(), 0.1),
            (torch.zeros(4, 2), torch.zeros(4, dtype=torch.long)),
            total_steps=10,
            curriculum=CurriculumConfig(loss="forward"),
        )


def test_numbers_that_it_can_not_have() -> None:
    with pytest.raises(UserError, match="epochs of the loss forward is 0, but it must be at least 1"):
        Forward(0.0)
