"""Batches that are mixed by the mentor's weights: the first look leaves no trace, and the hypergradient stays exact."""

from __future__ import annotations

import copy
import dataclasses

import pytest
import torch
from stand_ins import Spy
from torch import Tensor, nn
from torch.autograd import grad
from torch.func import functional_call
from truth_curriculum import as_batch, changed, gradient_that_arrived, make_curriculum, make_learner, mentor_of
from truth_students import CLASSES, make_student, samples
from unrolled import cross_entropies

from ray_mentor.config import MentorConfig
from ray_mentor.core.batch import Batch
from ray_mentor.core.curriculum import Curriculum
from ray_mentor.core.methods.mixing import MentorMix
from ray_mentor.core.step.features import Features
from ray_mentor.core.step.memorising import MemorisingState

CONFIG: MentorConfig = changed(mentor_features=("loss",), mentor_hidden=(6,))


def by_heart(curriculum: Curriculum) -> Curriculum:
    """From here on every batch is mixed."""
    curriculum.memorising.state = MemorisingState(share=1.0)
    return curriculum


class Remembering(MentorMix):
    """Knows the last batch that it mixed, and by which weights."""

    last: Batch
    weights: Tensor | None

    def __call__(self, batch: Batch, generator: torch.Generator, sample_weights: Tensor | None = None) -> Batch:
        self.weights = sample_weights
        self.last = super().__call__(batch, generator, sample_weights)
        return self.last


def made_for(student: nn.Module, name: str) -> tuple[Curriculum, Spy, Remembering]:
    optimizer = torch.optim.SGD(student.parameters(), lr=0.3, momentum=0.9)
    access, mixing = Spy(make_learner(CONFIG, CLASSES)), Remembering(1.0)
    meta = samples(name, 7, seed=2)
    return make_curriculum(student, optimizer, meta, config=CONFIG, access=access, mixing=mixing), access, mixing


class TestTheLook:
    @pytest.mark.parametrize("name", ["conv with batch norm", "mlp with dropout"])
    def test_it_leaves_no_trace(self, name: str) -> None:
        """One mixed step is a plain step on the mixed batch under weights that were given: params, buffers, masks."""
        batch = as_batch(samples(name, 9, seed=5))
        ours, theirs = make_student(name), make_student(name)
        curriculum = by_heart(made_for(ours, name)[0])
        torch.manual_seed(7)
        record = curriculum.step(batch)
        assert record.batch.share is not None

        optimizer = torch.optim.SGD(theirs.parameters(), lr=0.3, momentum=0.9)
        torch.manual_seed(7)
        after = theirs(record.batch.inputs)
        assert record.batch.partner_labels is not None
        share = record.batch.share
        losses = share * cross_entropies(after, batch.labels)
        losses = losses + (1 - share) * cross_entropies(after, record.batch.partner_labels)
        (record.sample_weights / record.sample_weights.sum() * losses).sum().backward()
        optimizer.step()
        for found, expected in zip(ours.state_dict().values(), theirs.state_dict().values(), strict=True):
            torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-12)

    def test_losses_and_weights_are_those_of_the_unmixed_batch(self) -> None:
        name = "conv with batch norm"
        student, batch = make_student(name), as_batch(samples(name, 9, seed=5))
        before = copy.deepcopy(student)
        curriculum, access, mixing = made_for(student, name)
        mentor = mentor_of(access.state, CONFIG, CLASSES)
        record = by_heart(curriculum).step(batch)
        outputs = before(batch.inputs).detach()
        losses, said = cross_entropies(outputs, batch.labels), outputs.argmax(dim=1)
        torch.testing.assert_close(record.losses, losses)
        column = torch.zeros(9, 0, dtype=losses.dtype)
        features = Features(losses, losses, batch.labels, losses, column, predicted=said)
        torch.testing.assert_close(record.sample_weights, mentor.sample_weights(features).detach())
        assert mixing.weights is not None
        assert torch.equal(mixing.weights, record.sample_weights)


@pytest.mark.parametrize("name", ["mlp", "conv with batch norm"])
def test_a_whole_update_against_double_backward(name: str) -> None:
    """∂M(θ'(φ))/∂φ, θ' the step on the mixed batch, w of the unmixed one; SGD with momentum, written out."""
    student = make_student(name)
    meta, (inputs, labels) = samples(name, 7, seed=2), samples(name, 9, seed=5)
    trusted = torch.arange(9) >= 6
    curriculum, access, mixing = made_for(student, name)
    mentor = mentor_of(access.state, CONFIG, CLASSES)
    before = {key: param.detach().clone().requires_grad_() for key, param in student.named_parameters()}
    buffers = {key: value.clone() for key, value in student.named_buffers()}

    def outputs_of(params: dict[str, Tensor], shown: Tensor) -> Tensor:
        outputs: Tensor = functional_call(student, {**params, **{k: b.clone() for k, b in buffers.items()}}, (shown,))
        return outputs

    record = by_heart(curriculum).step(dataclasses.replace(as_batch((inputs, labels)), trusted=trusted))
    assert record.batch.ids.tolist() == list(range(1000, 1006))
    mixed = mixing.last  # the whole batch, the trusted samples among it
    assert mixed.share is not None
    assert mixed.partner_labels is not None

    with torch.no_grad():
        outputs = outputs_of(before, inputs)
        seen, said = cross_entropies(outputs, labels), outputs.argmax(dim=1)
    column = Features(seen, seen, labels, seen, torch.zeros(9, 0, dtype=seen.dtype), predicted=said)
    w = torch.sigmoid(mentor.logits(column)).masked_fill(trusted, 1.0)
    after = outputs_of(before, mixed.inputs)
    losses = mixed.share * cross_entropies(after, labels)
    losses = losses + (1 - mixed.share) * cross_entropies(after, mixed.partner_labels)
    gradients = grad((w * losses).sum() / w.sum(), list(before.values()), create_graph=True)
    moved = {key: before[key] - 0.3 * g for key, g in zip(before, gradients, strict=True)}
    truth = grad(cross_entropies(outputs_of(moved, meta[0]), meta[1]).mean(), list(mentor.parameters()))

    size = access.updates[0].influence.abs().mean()
    for found, expected in zip(gradient_that_arrived(access.state), truth, strict=True):
        torch.testing.assert_close(found * size, expected, rtol=1e-9, atol=1e-13)
