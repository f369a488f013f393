"""Trusted samples in the student's batch: weight 1, whatever the mentor says; and the hypergradient stays exact."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from stand_ins import Spy
from test_anchor import CONFIG, INFLUENCE, N, features, logit_gradient, params_of, update_of
from torch import Tensor
from torch.autograd import grad
from torch.func import functional_call
from truth_curriculum import as_batch, changed, gradient_that_arrived, make_curriculum, make_learner, mentor_of
from truth_students import CLASSES, make_student, samples
from unrolled import cross_entropies

from ray_mentor.config import MentorConfig
from ray_mentor.core.batch import Batch
from ray_mentor.core.mentor.learner import MetaUpdate
from ray_mentor.core.step.features import Features

TRUSTED = torch.tensor([False, True, False, False, True, False])
FREE = changed(CONFIG, anchor=0.0)


def beside() -> MetaUpdate:
    return dataclasses.replace(update_of(), features=dataclasses.replace(features(), trusted=TRUSTED))


def test_their_weight_is_1_and_others_keep_theirs() -> None:
    learner = make_learner(CONFIG, N)
    plain, found = learner.score(features()), learner.score(beside().features)
    assert (found[TRUSTED] == 1).all()
    assert torch.equal(found[~TRUSTED], plain[~TRUSTED])


@pytest.mark.parametrize("normalisation", ["sum", "batch"])
def test_the_hypergradient_in_closed_form(normalisation: str) -> None:
    """As without them, with w = 1 in their place, and nothing to learn from it."""
    w = make_learner(CONFIG, N).score(features()).masked_fill(TRUSTED, 1.0)
    s = INFLUENCE / INFLUENCE.abs().mean()
    slope = s / N if normalisation == "batch" else (s - (w * s).sum() / w.sum()) / w.sum()
    found = logit_gradient(changed(FREE, normalisation=normalisation), beside())
    torch.testing.assert_close(found, (slope * w * (1 - w)), rtol=1e-12, atol=1e-14)
    assert (found[TRUSTED] == 0).all()


def test_the_pull_is_among_the_others() -> None:
    w = make_learner(CONFIG, N).score(features())[~TRUSTED]
    p = w / w.sum()
    kl = (p * (len(p) * p).log()).sum()
    pull = ((len(p) * p).log() - kl) / w.sum() * w * (1 - w)
    with_pull, without = (logit_gradient(changed(FREE, entropy=strength), beside()) for strength in (0.7, 0.0))
    torch.testing.assert_close((with_pull - without)[~TRUSTED], 0.7 * pull, rtol=1e-10, atol=1e-14)
    assert (with_pull[TRUSTED] == 0).all()


def test_the_anchor_holds_the_others() -> None:
    learner = make_learner(changed(CONFIG, anchor=0.3), N)
    learner.learn(beside())
    others = torch.logit(learner.score(features())[~TRUSTED])
    torch.testing.assert_close(torch.sigmoid(torch.quantile(others, 0.75)).item(), 0.3, rtol=1e-6, atol=0)
    every = beside()
    every = dataclasses.replace(every, features=dataclasses.replace(every.features, trusted=torch.ones(N).bool()))
    before = params_of(learner.state())["logit_offset"]
    learner.learn(every)
    assert torch.equal(params_of(learner.state())["logit_offset"], before), "nobody to hold"


def test_features_on_the_road() -> None:
    sent = Features(torch.rand(N), torch.rand(N), torch.arange(N), torch.rand(N), torch.rand(N, 2), TRUSTED)
    arrived = Features.from_matrix(sent.matrix())
    assert torch.equal(arrived.trusted, TRUSTED)
    for name in ("loss", "loss_difference", "label", "progress", "history"):
        assert torch.equal(getattr(arrived, name), getattr(sent, name))
    assert torch.equal(sent[1:3].trusted, TRUSTED[1:3])
    assert torch.equal(Features.concatenate([sent, sent]).trusted, torch.cat([TRUSTED, TRUSTED]))
    assert not features().trusted.any()


@pytest.mark.parametrize("name", ["mlp", "conv with batch norm"])
def test_a_whole_update_against_double_backward(name: str) -> None:
    """∂M(θ'(φ))/∂φ of the step that was taken, SGD with momentum, written out and differentiated."""
    config: MentorConfig = changed(mentor_features=("loss",), mentor_hidden=(6,))
    student = make_student(name)
    optimizer = torch.optim.SGD(student.parameters(), lr=0.3, momentum=0.9)
    meta, (inputs, labels) = samples(name, 7, seed=2), samples(name, 9, seed=5)
    trusted = torch.arange(9) >= 6
    access = Spy(make_learner(config, CLASSES))
    mentor = mentor_of(access.state, config, CLASSES)
    curriculum = make_curriculum(student, optimizer, meta, config=config, access=access)
    names = [key for key, _ in student.named_parameters()]
    before = {key: param.detach().clone().requires_grad_() for key, param in student.named_parameters()}
    buffers = {key: value.clone() for key, value in student.named_buffers()}

    said = functional_call(student, {**before, **copies(buffers)}, (inputs,))
    losses = cross_entropies(said, labels)
    seen, predicted = losses.detach(), said.argmax(dim=1)
    column = Features(seen, seen, labels, seen, torch.zeros(9, 0, dtype=seen.dtype), predicted=predicted)
    w = torch.sigmoid(mentor.logits(column)).masked_fill(trusted, 1.0)
    gradients = grad((w * losses).sum() / w.sum(), list(before.values()), create_graph=True)
    moved = {key: before[key] - 0.3 * g for key, g in zip(names, gradients, strict=True)}
    outputs = functional_call(student, {**moved, **copies(buffers)}, (meta[0],))
    truth = grad(cross_entropies(outputs, meta[1]).mean(), list(mentor.parameters()))

    batch: Batch = dataclasses.replace(as_batch((inputs, labels)), trusted=trusted)
    record = curriculum.step(batch)
    assert record.batch.ids.tolist() == list(range(1000, 1006))
    size = access.updates[0].influence.abs().mean()
    arrived = gradient_that_arrived(access.state)
    for found, expected in zip(flat(arrived), flat(truth), strict=True):
        torch.testing.assert_close(found * size, expected, rtol=1e-9, atol=1e-13)


def copies(buffers: dict[str, Tensor]) -> dict[str, Tensor]:
    return {key: value.clone() for key, value in buffers.items()}


def flat(tensors: list[Tensor] | tuple[Tensor, ...]) -> Tensor:
    return torch.cat([tensor.reshape(-1) for tensor in tensors])
