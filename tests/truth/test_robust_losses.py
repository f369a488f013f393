"""A robust loss under a mentor: the student is trained on it, and all that looks on sees the cross-entropy."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from torch import nn
from torch.func import functional_call
from truth_curriculum import as_batch, curriculum_of_settings, make_learner
from truth_students import make_student, samples

from ray_mentor import CurriculumConfig, MentorConfig, UserError
from ray_mentor.core.batch import Batch, MetaBatch
from ray_mentor.core.curriculum import Curriculum
from ray_mentor.core.epoch import AtEpoch
from ray_mentor.core.losses import (
    ROBUST,
    BySize,
    ClassBalanced,
    ExpectedError,
    PerSampleLoss,
    cross_entropy,
    losses_of,
    make_loss,
)
from ray_mentor.core.losses.forward import Forward
from ray_mentor.core.mentor.access import LocalMentor
from ray_mentor.core.methods.table import check_one_loss, parts_of
from ray_mentor.core.step.memorising import MemorisingState
from ray_mentor.run.ledger.rows import LedgerRows


def curriculum_of(student: nn.Module, schedule: CurriculumConfig) -> Curriculum:
    return curriculum_of_settings(student, schedule, MentorConfig(update_interval=1), total_steps=4)


@pytest.mark.parametrize("mixing", ["none", "mixup", "mentormix"])
@pytest.mark.parametrize("text", ["gce", "sce:2", "label-smoothing"])
def test_trained_on_and_shown(text: str, mixing: str) -> None:
    student = make_student("mlp")
    curriculum = curriculum_of(student, CurriculumConfig(loss=text, mixing=mixing, burn_in=0.0))
    batch = as_batch(samples("mlp", 8, 1))
    if mixing == "mentormix":  # always mixed, after a look at the batch as it is
        curriculum.memorising.state = type(curriculum.memorising.state)(share=1.0)
    with torch.no_grad():
        logits = student(batch.inputs)
    record = curriculum.step(batch)
    if mixing != "mixup":  # of a batch that is mixed before anybody sees it nobody knows the losses
        torch.testing.assert_close(record.losses, cross_entropy(logits, batch.labels), rtol=1e-6, atol=1e-7)
    assert record.influence.isfinite().all()
    assert record.meta_loss is not None
    assert 0 < record.meta_loss < 1


def test_the_step_is_that_of_the_robust_loss() -> None:
    steps = []
    for text in ("gce", "cross-entropy"):
        student = make_student("mlp")
        curriculum = curriculum_of(student, CurriculumConfig("uniform", loss=text))
        batch = as_batch(samples("mlp", 8, 1))
        gradients = torch.autograd.grad(
            make_loss(text)(student(batch.inputs), batch.labels).mean(), list(student.parameters())
        )
        expected = [param.detach() - 0.1 * grad for param, grad in zip(student.parameters(), gradients, strict=True)]
        curriculum.step(batch)
        for param, value in zip(student.parameters(), expected, strict=True):
            torch.testing.assert_close(param.detach(), value, rtol=1e-5, atol=1e-7)
        steps.append(torch.cat([param.detach().flatten() for param in student.parameters()]))
    assert not torch.equal(*steps)


@pytest.mark.parametrize("text", ROBUST)
def test_a_mentor_makes_errors_few_whatever_the_loss(text: str) -> None:
    meta = MetaBatch(torch.zeros(1), torch.zeros(1), 1)
    learner = LocalMentor(make_learner(MentorConfig(), 4))
    parts = parts_of(CurriculumConfig(loss=text), MentorConfig(), learner, None, lambda _: meta)
    assert isinstance(parts.meta_loss, ExpectedError)
    assert parts.meta_loss.loss is parts.shown_loss is cross_entropy
    assert parts.loss == make_loss(text)
    assert parts.in_nats


def test_not_two_losses() -> None:
    check_one_loss(CurriculumConfig(), cross_entropy)
    with pytest.raises(UserError, match="loss is 'gce', but a loss of your own was given"):
        check_one_loss(CurriculumConfig(loss="gce"), cross_entropy)
    with pytest.raises(UserError, match="unknown loss 'gc'"):
        check_one_loss(CurriculumConfig(loss="gc"), None)


def found_at_epochs(loss: PerSampleLoss) -> PerSampleLoss:
    """As it is when what it finds out once an epoch is there."""
    if isinstance(loss, Forward):
        loss.state = torch.tensor([[0.7, 0.2, 0.1], [0.05, 0.9, 0.05], [0.3, 0.0, 0.7]], dtype=torch.float64)
    elif isinstance(loss, BySize):
        loss.take_sizes([40, 7, 2], [2, 2, 2])
        if isinstance(loss, ClassBalanced) and loss.start:
            loss.state = loss.sizes  # the last phase
    elif isinstance(loss, AtEpoch):
        loss.state = torch.ones((), dtype=torch.float64)
    return loss


@pytest.mark.parametrize("mixing", ["none", "mentormix"])
@pytest.mark.parametrize("text", [text for text in ROBUST if text != "elr"])
def test_influences_are_those_of_double_backward(text: str, mixing: str) -> None:
    """Of the loss that the student is trained on, whatever it has found out, with trusted samples in the batch."""
    check_influences(CurriculumConfig(loss=text, mixing=mixing, burn_in=0.0))


def check_influences(schedule: CurriculumConfig) -> None:
    student = make_student("mlp")
    before = {name: param.detach().clone().requires_grad_() for name, param in student.named_parameters()}
    curriculum = curriculum_of(student, schedule)
    loss = found_at_epochs(curriculum.parts.loss)
    curriculum.memorising.state = MemorisingState(share=1.0)
    trusted = torch.arange(8) % 4 == 3
    batch = dataclasses.replace(as_batch(samples("mlp", 8, 1)), trusted=trusted)
    shown: list[Batch] = []
    look_back = curriculum.meta.look_back
    curriculum.meta.look_back = lambda step, weighed, *rest, **more: (  # type: ignore[method-assign]
        shown.append(weighed.seen.batch), look_back(step, weighed, *rest, **more))[1]  # fmt: skip
    record = curriculum.step(batch)
    (seen,) = shown
    w = torch.ones(8, dtype=torch.float64)
    w[~trusted] = record.sample_weights
    w = (w / w.sum()).requires_grad_()
    losses = losses_of(functional_call(student, before, (seen.inputs,)), loss, seen)
    gradients = torch.autograd.grad((w * losses).sum(), list(before.values()), create_graph=True)
    moved = {name: before[name] - 0.1 * gradient for name, gradient in zip(before, gradients, strict=True)}
    inputs, labels = samples("mlp", 6, 9)
    meta_loss = (1 - torch.softmax(functional_call(student, moved, (inputs,)), 1)[torch.arange(6), labels]).mean()
    (truth,) = torch.autograd.grad(meta_loss, w)
    torch.testing.assert_close(record.influence, truth[~trusted], rtol=1e-9, atol=1e-13)
    assert (schedule.mixing == "none") == (seen.share is None)


def test_trust_and_class_factor_are_told_apart() -> None:
    """The sample weight stays what a mentor thinks of a sample; what its class is worth is said beside it."""
    student = make_student("mlp")
    curriculum = curriculum_of(student, CurriculumConfig(loss="class-balanced:1", burn_in=0.0))
    found_at_epochs(curriculum.parts.loss)
    batch = as_batch(samples("mlp", 8, 1))
    record = curriculum.step(batch)
    assert record.class_factor is not None
    expected = 55 / 3 / torch.tensor([42.0, 9.0, 4.0])[batch.labels]
    torch.testing.assert_close(record.class_factor, expected)
    assert record.sample_weights.max() <= 1
    plain = curriculum_of(make_student("mlp"), CurriculumConfig(burn_in=0.0)).step(batch)
    assert plain.class_factor is None
    rows = LedgerRows()
    rows.append(0, record)
    rows.append(0, plain)
    said = rows.table()["class_factor"].to_numpy()
    assert said.tolist() == pytest.approx([*expected.tolist(), *[1.0] * 8])


@pytest.mark.parametrize("reweight", ["class-balanced", "drw"])
def test_influences_under_a_factor_are_those_of_double_backward(reweight: str) -> None:
    check_influences(CurriculumConfig(loss="ldam:2", reweight=reweight, mixing="none", burn_in=0.0))
