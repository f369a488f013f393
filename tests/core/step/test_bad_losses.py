"""Losses that can't be trained on are refused before the update, with a word on what to do."""

from __future__ import annotations

import copy

import pytest
import torch
from tiny_run import batch_of, curriculum_of, student_of
from torch.nn.functional import cross_entropy

from ray_mentor.errors import NonFiniteLossError, UserError


@pytest.mark.parametrize("bad", [torch.nan, torch.inf])
@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_a_loss_that_is_not_finite_stops_before_the_update(bad: float, momentum: float) -> None:
    student = student_of()
    optimizer = torch.optim.SGD(student.parameters(), lr=0.1, momentum=momentum)
    curriculum = curriculum_of(student, optimizer)
    curriculum.step(batch_of())
    before = copy.deepcopy((student.state_dict(), optimizer.state_dict(), curriculum.percentile.value))
    batch = batch_of(seed=1)
    batch.inputs[1] = batch.inputs[3] = bad
    with pytest.raises(NonFiniteLossError) as caught:
        curriculum.step(batch)
    assert str(caught.value) == (
        "the loss is not finite at step 1 for 2 of 5 samples (sample ids 101, 103); the student was not updated. "
        "Lower the learning rate, or look at these samples' inputs"
    )
    assert isinstance(caught.value, UserError)
    after = student.state_dict(), optimizer.state_dict(), curriculum.percentile.value
    assert repr(after) == repr(before)
    assert all(torch.equal(after[0][name], before[0][name]) for name in before[0])
    assert curriculum.step_number == 1


def test_of_many_bad_samples_the_first_five_are_named() -> None:
    curriculum = curriculum_of(student_of())
    batch = batch_of(8)
    batch.inputs[:] = torch.nan
    with pytest.raises(NonFiniteLossError, match=r"8 of 8 samples \(sample ids 100, 101, 102, 103, 104, \.\.\.\)"):
        curriculum.step(batch)


def test_a_loss_that_returns_the_mean() -> None:
    curriculum = curriculum_of(student_of(), loss=cross_entropy)
    with pytest.raises(ValueError, match="one value") as caught:
        curriculum.step(batch_of())
    assert str(caught.value) == (
        "the loss returned shape () for 5 samples, but it must return one value per sample, shape (5,); "
        "e.g. give reduction='none'"
    )
