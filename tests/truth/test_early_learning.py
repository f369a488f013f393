"""Early-learning regularisation: its targets are those of a plain loop, wherever samples lie, and whoever goes on."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn
from truth_curriculum import as_batch, curriculum_of_settings
from truth_students import CLASSES, make_student, samples

from ray_mentor import CurriculumConfig, LearnedCurriculum, MentorConfig, UserError
from ray_mentor.core.batch import Batch
from ray_mentor.core.curriculum import Curriculum
from ray_mentor.core.history.table import LossHistory
from ray_mentor.core.losses import TargetLoss, make_loss
from ray_mentor.core.methods.table import check_one_loss, mixing_of
from ray_mentor.core.state.curriculum import CurriculumState, capture_curriculum, restore_curriculum

N, B = 12, 6


def published(z: Tensor, labels: Tensor, t: Tensor, beta: float, strength: float) -> tuple[Tensor, Tensor]:
    """Loss and new targets, as the authors' code has them: t first moves, then counts."""
    y = torch.softmax(z, dim=1).clamp(1e-4, 1 - 1e-4)
    fixed = y.detach()
    t = beta * t + (1 - beta) * fixed / fixed.sum(1, keepdim=True)
    regulariser = (1 - (t * y).sum(1)).log()
    return nn.functional.cross_entropy(z, labels, reduction="none") + strength * regulariser, t


def curriculum_of(student: nn.Module, *, method: str = "uniform", history: int = 0) -> Curriculum:
    features = ("loss", "history") if history else ("loss", "loss_difference")
    config = MentorConfig(update_interval=1, history_length=history, mentor_features=features)
    schedule = CurriculumConfig(method, loss="elr:2:0.6", burn_in=0.0)
    return curriculum_of_settings(student, schedule, config, n_samples=N)


def batch_at(step: int) -> Batch:
    rows = torch.randperm(N, generator=torch.Generator().manual_seed(step))[:B]
    whole = as_batch(samples("mlp", N, 1))
    return Batch(rows, rows, whole.inputs[rows], whole.labels[rows])


def flat(student: nn.Module) -> Tensor:
    return torch.cat([param.detach().flatten() for param in student.parameters()])


@pytest.mark.parametrize("history", [0, 2])
def test_a_plain_loop_does_the_same(history: int) -> None:
    student = make_student("mlp")
    other, targets = copy.deepcopy(student), torch.zeros(N, CLASSES, dtype=torch.float64)
    optimizer = torch.optim.SGD(other.parameters(), 0.1)
    curriculum = curriculum_of(student, history=history)
    for step in range(7):
        batch = batch_at(step)
        curriculum.step(batch)
        losses, targets[batch.rows] = published(other(batch.inputs), batch.labels, targets[batch.rows], 0.6, 2.0)
        optimizer.zero_grad()
        losses.mean().backward()
        optimizer.step()
        torch.testing.assert_close(flat(student), flat(other), rtol=1e-5, atol=1e-6)
    kept = curriculum.history.beside(torch.arange(N)).nan_to_num(0.0).double()
    torch.testing.assert_close(kept, targets, rtol=1e-5, atol=1e-6)  # which are kept in float32


def test_sure_predictions_have_the_bound_of_the_authors() -> None:
    """A p of 0 or 1 is taken for 1e-4 from it: that of 1 − ⟨t, p⟩ is then of the size of 1e-4, and no slope comes."""
    z = torch.tensor([[30.0, 0.0, 0.0], [0.0, 12.0, 0.0], [1.0, 0.0, 2.0]], dtype=torch.float64, requires_grad=True)
    labels, before = torch.tensor([0, 2, 1]), torch.full((3, 3), torch.nan, dtype=torch.float64)
    loss = make_loss("elr:3:0.1")
    assert isinstance(loss, TargetLoss)
    targets = loss.target(z, before)
    expected, kept = published(z, labels, before.nan_to_num(0.0), 0.1, 3.0)
    torch.testing.assert_close(targets, kept, rtol=1e-12, atol=0)
    found = loss(z, labels, targets)
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=0)
    slopes = [torch.autograd.grad(each.sum(), z, retain_graph=True)[0] for each in (found, expected)]
    torch.testing.assert_close(*slopes, rtol=1e-12, atol=1e-15)


def test_a_mentor_learns_beside_it_and_its_influences_add_up() -> None:
    curriculum = curriculum_of(make_student("mlp"), method="mentornet")
    records = [curriculum.step(batch_at(step)) for step in range(5)]
    assert all(record.influence.isfinite().all() and record.influence.abs().max() > 0 for record in records)
    assert curriculum.guards.inconsistent_updates == curriculum.guards.skipped_updates == 0


def test_it_goes_on_as_if_it_had_never_stopped() -> None:
    whole = make_student("mlp")
    run = curriculum_of(whole, history=1)
    for step in range(4):
        run.step(batch_at(step))
    state, table = capture_curriculum(run, run.history.table.clone()), copy.deepcopy(whole.state_dict())
    for step in range(4, 9):
        run.step(batch_at(step))
    again = make_student("mlp")
    other = curriculum_of(again, history=1)
    again.load_state_dict(table)
    restore_curriculum(CurriculumState.from_table(state.table()), other)
    for step in range(4, 9):
        other.step(batch_at(step))
    assert torch.equal(flat(whole), flat(again))


@pytest.mark.parametrize("length", [0, 2])
def test_two_ranks_remember_what_one_does(length: int) -> None:
    """Each its own rows; what is pushed does not touch what is put, nor the other way round."""
    one = LossHistory(N, length, beside=3)
    parts = [LossHistory(N, length, rank, 2, beside=3) for rank in range(2)]
    draw = torch.Generator().manual_seed(0)
    for _ in range(6):
        rows = torch.randperm(N, generator=draw)[:B]
        losses, values = torch.rand(B, generator=draw), torch.rand(B, 3, generator=draw)
        for history in (one, *parts):
            history.push(rows, losses)
            history.put(rows.flip(0), values)
    joined = torch.cat([part.table for part in parts])
    torch.testing.assert_close(joined, one.table, rtol=0, atol=0, equal_nan=True)
    everyone = torch.arange(N)
    assert one.past(everyone).shape == (N, length)
    assert one.beside(everyone).shape == (N, 3)
    assert one.shape == (N, length + 3)


def test_what_it_can_not_go_with() -> None:
    elr = CurriculumConfig(loss="elr")
    assert isinstance(make_loss("elr"), TargetLoss)
    assert mixing_of(elr, MentorConfig(), own_loss=False, floats=True) == "none"
    with pytest.raises(UserError, match="mixing is 'mixup', but the loss elr remembers"):
        check_one_loss(CurriculumConfig(loss="elr", mixing="mixup"), None)
    with pytest.raises(UserError, match="method is 'l2rw', which weighs samples before"):
        check_one_loss(CurriculumConfig("l2rw", loss="elr"), None)
    student = nn.Linear(2, 2)
    with pytest.raises(UserError, match="loss is 'elr', which remembers a target of each sample; only the trainer"):
        LearnedCurriculum(
            student,
            torch.optim.SGD(student.parameters(), 0.1),
            (torch.zeros(4, 2), torch.zeros(4, dtype=torch.long)),
            total_steps=10,
            curriculum=elr,
        )
