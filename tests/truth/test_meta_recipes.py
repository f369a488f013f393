"""Lines of a comparison that are named after a published mentor: one update is what was published."""

from __future__ import annotations

import dataclasses
import io

import pytest
import torch
from torch.func import functional_call
from torch.nn.functional import cross_entropy
from truth_curriculum import as_batch, curriculum_of_settings, gradient_that_arrived, mentor_of
from truth_students import CLASSES, make_student, samples

from ray_mentor.config import TrainConfig
from ray_mentor.config.compared import METHODS
from ray_mentor.core.step.features import Features


@pytest.mark.parametrize(("name", "is_due"), [("meta-weight-net", range(4)), ("cmw-net", range(0, 11, 10))])
def test_one_update_is_the_published_one(name: str, is_due: range) -> None:
    """∂M/∂φ by double backward, M = mean cross-entropy of θ − α∇(1/B)Σ_i w_φ(ℓ_i)ℓ_i; then Adam at 1e-3.

    The trusted samples that the student is trained on beside the batch have weight 1.
    """
    asked = METHODS[name].config(TrainConfig())
    student = make_student("mlp")
    before = {key: param.detach().clone().requires_grad_() for key, param in student.named_parameters()}
    curriculum = curriculum_of_settings(student, asked.curriculum, asked.mentor)
    access = curriculum.parts.mentor
    assert access is not None
    mentor = mentor_of(access.state, asked.mentor, CLASSES)
    trusted = torch.arange(9) >= 7
    batch = dataclasses.replace(as_batch(samples("mlp", 9, 1)), trusted=trusted)
    assert curriculum.meta_is_due
    curriculum.step(batch)

    losses = cross_entropy(functional_call(student, before, (batch.inputs,)), batch.labels, reduction="none")
    shown = losses.detach()
    zeros = torch.zeros_like(shown)
    w = mentor.sample_weights(Features(shown, zeros, batch.labels, zeros, torch.zeros(9, 0), trusted))
    own = w[~trusted].detach()
    assert float(own.std()) > 0.1 * float(own.mean())
    gradients = torch.autograd.grad((w * losses).sum() / 9, list(before.values()), create_graph=True)
    moved = {key: before[key] - 0.1 * gradient for key, gradient in zip(before, gradients, strict=True)}
    meta_inputs, meta_labels = samples("mlp", 6, 9)
    meta_loss = cross_entropy(functional_call(student, moved, (meta_inputs,)), meta_labels)
    params = [param for param in mentor.parameters() if param.requires_grad]
    truth = torch.cat([gradient.flatten() for gradient in torch.autograd.grad(meta_loss, params)])
    found = torch.cat([gradient.flatten() for gradient in gradient_that_arrived(access.state)])
    torch.testing.assert_close(found / found.norm(), truth / truth.norm(), rtol=1e-9, atol=1e-12)

    group = torch.load(io.BytesIO(access.state.payload), weights_only=True)["optimizer"]["param_groups"][0]
    assert (group["lr"], group["weight_decay"]) == (pytest.approx(1e-3), 1e-4)
    for step in range(1, is_due.stop):
        assert curriculum.meta_is_due == (step in is_due), "the interval"
        curriculum.step(batch)
