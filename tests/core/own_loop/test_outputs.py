"""Logits given to ``weigh``: the mentor then goes by given and predicted class, as in a run of the trainer's."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
import torch
from own_loop import CLASSES, Loop, blobs, noisy, per_sample, student
from thread_ranks import on_ranks

from ray_mentor import MentorConfig, UserError
from ray_mentor.core.exchange import AbstractExchange
from ray_mentor.core.plain_load import load_plain

EVERY_STEP = MentorConfig(update_interval=1, mentor_learning_rate=1e-12)


def finished(loop: Loop, steps: int, *, tells: bool) -> Loop:
    for inputs, labels, ids in noisy(steps):
        outputs = loop.student(inputs)
        losses = per_sample(outputs, labels)
        loop.finish(loop.curriculum.weigh(losses, labels=labels, sample_ids=ids, outputs=outputs if tells else None))
    return loop


def loop(n_classes: int | None = CLASSES) -> Loop:
    return Loop(mentor=EVERY_STEP, n_classes=n_classes)


def test_evidence_is_gathered_where_they_are_given() -> None:
    told, untold = finished(loop(), 8, tells=True), finished(loop(), 8, tells=False)
    for each, seen in ((told, True), (untold, False)):
        assert each.curriculum.mentor is not None
        state = load_plain(each.curriculum.mentor.state.payload)["mentor"]
        assert bool(state["evidence.counts"].sum() > 100) is seen
    inputs, labels, ids = next(noisy(1, first=8))
    outputs = told.student(inputs)
    told.curriculum.weigh(per_sample(outputs, labels), labels=labels, sample_ids=ids, outputs=outputs)
    weights, wrong = told.curriculum.sample_weights, ids % 3 == 0
    assert weights[wrong].mean() < weights[~wrong].mean() - 0.1
    untold.weigh(inputs, labels, ids)
    assert untold.curriculum.sample_weights.std() < 1e-3


def test_they_are_read_and_nothing_else() -> None:
    """No graph is held, and the student learns from the same loss."""
    one = loop()
    inputs, labels, ids = next(noisy(1))
    outputs = one.student(inputs)
    loss = one.curriculum.weigh(per_sample(outputs, labels), labels=labels, sample_ids=ids, outputs=outputs)
    other = loop()
    assert torch.equal(loss, other.weigh(inputs, labels, ids))


@pytest.mark.parametrize(
    ("outputs", "said"),
    [
        (torch.zeros(8, CLASSES - 1), r"outputs has shape \(8, 2\) for labels of shape \(8,\), but it must hold"),
        (torch.zeros(16, CLASSES), r"outputs has shape \(16, 3\) for labels of shape \(8,\)"),
        (torch.zeros(8), r"outputs has shape \(8,\) for labels"),
    ],
)  # fmt: skip
def test_what_is_no_logits_of_each(outputs: torch.Tensor, said: str) -> None:
    one = loop()
    inputs, labels = blobs(8, 0)
    with pytest.raises(UserError, match=said):
        one.curriculum.weigh(per_sample(one.student(inputs), labels), labels=labels, outputs=outputs)


@pytest.mark.parametrize("outputs", [torch.zeros(8, CLASSES).numpy(), [0.0] * 8, torch.tensor(1.0)])
def test_what_is_no_tensor_of_logits(outputs: Any) -> None:
    one = loop()
    inputs, labels = blobs(8, 0)
    with pytest.raises(UserError, match=r"(?s)outputs is .*, but it must be the tensor of the student's class logits"):
        one.curriculum.weigh(per_sample(one.student(inputs), labels), labels=labels, outputs=outputs)


def test_a_rank_without_a_sample_has_no_outputs_and_one_may_give_none() -> None:
    """Three ranks: one is empty, and one does not tell; the mentors weigh the same, by what the first has told."""

    def weights(exchange: AbstractExchange) -> torch.Tensor:
        one = Loop(lambda: students[exchange.rank], mentor=without_forward_mode, n_classes=CLASSES, exchange=exchange)
        assert one.curriculum.mentor is not None
        one.curriculum.mentor.load(told)
        inputs, labels = blobs((8, 0, 4)[exchange.rank], exchange.rank)
        outputs = one.student(inputs)
        given = None if exchange.rank == 2 else outputs
        one.curriculum.weigh(per_sample(outputs, labels), labels=labels, outputs=given)
        seen = one.curriculum._weighed
        assert seen is not None
        assert (seen.seen.features.predicted[:8] >= 0).all()
        assert (seen.seen.features.predicted[8:] == -1).all()
        return seen.sample_weights

    first = finished(loop(), 8, tells=True).curriculum.mentor
    assert first is not None
    told = first.state
    students = [student() for _ in range(3)]
    without_forward_mode = dataclasses.replace(EVERY_STEP, estimator="finite_difference")  # one for all threads
    one, empty, other = on_ranks(3, weights)
    assert one.shape == (12,)
    assert torch.equal(one, empty)
    assert torch.equal(one, other)
    assert one[:8].std() > 1e-3
    assert one[8:].std() < 1e-3


def test_how_many_classes_there_are_must_be_known() -> None:
    one = loop(None)
    inputs, labels = blobs(8, 0)
    outputs = one.student(inputs)
    with pytest.raises(UserError, match=r"outputs were given, but n_classes is None.*n_classes=\.\.\."):
        one.curriculum.weigh(per_sample(outputs, labels), labels=labels, outputs=outputs)
