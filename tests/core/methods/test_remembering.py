"""What a part remembers of every sample: what it is given at the end of an epoch, wherever samples lie, and resumed."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from thread_ranks import on_ranks
from torch import Tensor
from truth_curriculum import as_batch, make_curriculum
from truth_students import CLASSES, make_student, samples

from ray_mentor.config import CurriculumConfig, MentorConfig
from ray_mentor.core.batch import Batch
from ray_mentor.core.curriculum import Curriculum
from ray_mentor.core.epoch import EpochEnd
from ray_mentor.core.exchange import AbstractExchange, Alone
from ray_mentor.core.history.table import LossHistory
from ray_mentor.core.losses import make_loss
from ray_mentor.core.methods.remembering import Remembering, remember
from ray_mentor.core.methods.weightings import Uniform
from ray_mentor.core.state.checked import read_curriculum_state
from ray_mentor.core.state.curriculum import capture_curriculum, restore_curriculum
from ray_mentor.core.step.observation import Observation, observe
from ray_mentor.core.step.percentile import RunningPercentile

N, B = 12, 6


class Visits(Uniform, Remembering):
    """Keeps of each sample its last loss and how often it was seen; finds out how many were, and by when."""

    keeps = 2

    def __init__(self) -> None:
        self.kept: list[Tensor] = []

    def numbers(self, seen: Observation) -> Tensor:
        assert seen.remembered is not None
        return torch.stack([seen.features.loss, 1 + seen.remembered[:, 1].nan_to_num(0.0)], dim=1)

    def at_epoch(self, end: EpochEnd) -> None:
        self.kept.append(end.remembered().clone())
        known = ~self.kept[-1].isnan().any(dim=1)
        self.state = torch.tensor([end.done, int(known.sum())], dtype=torch.float64)

    def could_be(self, state: Tensor, n_classes: int) -> bool:
        return state.shape == (2,)


def curriculum_of(each: Visits | None, loss: str = "cross-entropy", history: int = 0) -> Curriculum:
    student = make_student("mlp")
    base = make_curriculum(
        student, torch.optim.SGD(student.parameters(), 0.1), samples("mlp", 6, 9), weighting=Uniform()
    )
    parts = dataclasses.replace(base.parts, weighting=each or Uniform(), loss=make_loss(loss))
    return Curriculum(
        student, base.optimizer, parts, Alone(), CurriculumConfig(), MentorConfig(history_length=history),
        total_steps=8, n_samples=N, seed=0, n_classes=CLASSES, epochs=4,
    )  # fmt: skip


def batch_at(step: int) -> Batch:
    """All twelve rows in two steps."""
    rows = torch.arange(N)[step % 2 :: 2]
    whole = as_batch(samples("mlp", N, 1))
    return Batch(rows, rows, whole.inputs[rows], whole.labels[rows])


def no_samples() -> list[tuple[Tensor, Tensor]]:
    return []


def epoch(curriculum: Curriculum) -> list[Tensor]:
    losses = [curriculum.step(batch_at(step)).losses for step in range(2)]
    curriculum.end_epoch(curriculum.step_number // 2, no_samples, no_samples)
    return losses


@pytest.mark.parametrize("loss", ["cross-entropy", "elr"])
@pytest.mark.parametrize("history", [0, 2])
def test_it_is_given_what_it_has_kept_of_every_sample(loss: str, history: int) -> None:
    """Beside the loss's own targets and past losses, which it leaves alone."""
    each = Visits()
    curriculum, plain = curriculum_of(each, loss, history), curriculum_of(None, loss, history)
    for number in range(1, 4):
        losses, expected = epoch(curriculum), epoch(plain)
        assert all(torch.equal(*both) for both in zip(losses, expected, strict=True))
        last = torch.empty(N, dtype=torch.float64)
        last[0::2], last[1::2] = losses
        assert torch.equal(each.kept[-1][:, 0], last.float())
        assert each.kept[-1][:, 1].tolist() == [number] * N
        width = curriculum.history.width - 2
        found = curriculum.history.table[:, :width]
        torch.testing.assert_close(found, plain.history.table, rtol=0, atol=0, equal_nan=True)
    assert each.state is not None
    assert each.state.tolist() == [3, N]


def test_a_sample_that_was_not_seen_has_nothing() -> None:
    each = Visits()
    curriculum = curriculum_of(each)
    curriculum.step(batch_at(0))
    curriculum.end_epoch(1, no_samples, no_samples)
    assert each.kept[0][1::2].isnan().all()
    assert each.state is not None
    assert each.state.tolist() == [1, N / 2]


def test_it_goes_on_from_a_state() -> None:
    one, other = Visits(), Visits()
    first, second = curriculum_of(one), curriculum_of(other)
    epoch(first)
    state = read_curriculum_state(capture_curriculum(first, first.history.table.clone()).table())
    restore_curriculum(state, second)
    assert other.state is not None
    assert other.state.tolist() == [1, N]
    epoch(second)
    assert other.kept[-1][:, 1].tolist() == [2] * N


@pytest.mark.parametrize("length", [0, 1])
def test_ranks_that_split_the_store_remember_what_one_process_does(length: int) -> None:
    def kept(exchange: AbstractExchange) -> tuple[list[Tensor], Tensor]:
        each = Visits()
        history = LossHistory(N, length, exchange.rank, exchange.world_size, beside=5)
        seen = []
        for step in range(4):
            rows = torch.randperm(N, generator=torch.Generator().manual_seed(step))[:B]
            own = slice(None) if exchange.world_size == 1 else (slice(0, 4), slice(4, B))[exchange.rank]
            batch = Batch(rows[own], rows[own], torch.zeros(len(rows[own]), 1), torch.zeros(len(rows[own])).long())
            losses = (rows[own] + 10.0 * step).float()
            found = observe(batch, losses, exchange, RunningPercentile(0.5, 0.9), history, 0.0)
            seen.append(remember(each, found, history, exchange, slice(3, 5)).remembered)
        return seen, history.whole(exchange)

    [(alone, whole)] = on_ranks(1, kept)
    for found, table in on_ranks(2, kept):
        torch.testing.assert_close(found, alone, rtol=0, atol=0, equal_nan=True)
        torch.testing.assert_close(table, whole, rtol=0, atol=0, equal_nan=True)
    assert whole[:, length : length + 3].isnan().all(), "what is another's stays as it is"
