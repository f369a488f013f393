"""MentorMix as published: who is drawn, which share is whose, and the second weighting; an exact hypergradient."""

from __future__ import annotations

import dataclasses
import math

import pytest
import torch
from stand_ins import Spy
from tiny_run import batch_of, curriculum_of, student_of
from torch import Tensor, nn

from ray_mentor.config import CurriculumConfig, MentorConfig
from ray_mentor.core.batch import Batch
from ray_mentor.core.curriculum import Curriculum
from ray_mentor.core.losses import cross_entropy, losses_of
from ray_mentor.core.mentor.learner import MentorLearner
from ray_mentor.core.methods.mixing import PublishedMentorMix, make_mixing
from ray_mentor.core.methods.mixing.published import chances, shares
from ray_mentor.core.methods.weightings import AbstractWeighting, Learned
from ray_mentor.core.step.observation import Observation


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


class TestTheDraw:
    def test_chances_by_hand(self) -> None:
        e = math.e
        expected = torch.tensor([1.0, e, e**0.5]).double() / (1 + e + e**0.5)
        torch.testing.assert_close(chances(torch.tensor([0.0, 1.0, 0.5]).double()), expected)

    def test_shares_by_hand(self) -> None:
        """The larger one where the weight is a half or more."""
        found = shares(torch.tensor([0.3, 0.8, 0.8, 0.1, 0.5]), torch.tensor([0.9, 0.5, 0.49, 0.0, 0.2]))
        torch.testing.assert_close(found, torch.tensor([0.7, 0.8, 0.2, 0.1, 0.5]))

    def test_partners_are_drawn_by_them(self) -> None:
        weights = torch.tensor([1.0, 0.0, 0.5, 0.0, 0.0])
        batch = dataclasses.replace(batch_of(), labels=torch.arange(5))
        drawn = [PublishedMentorMix(1.0)(batch, generator(seed), weights).partner_labels for seed in range(600)]
        counts = torch.cat([labels for labels in drawn if labels is not None]).bincount(minlength=5)
        torch.testing.assert_close(counts / counts.sum(), chances(weights), rtol=0, atol=0.03)

    def test_inputs_labels_and_losses_are_mixed_by_these_shares(self) -> None:
        weights = torch.tensor([1.0, 0.0, 0.5, 0.2, 0.9])
        batch = dataclasses.replace(batch_of(dtype=torch.float64), labels=torch.arange(5))
        mixed = PublishedMentorMix(8.0)(batch, generator(3), weights)
        assert mixed.share is not None
        assert mixed.partner_labels is not None
        own, partner = mixed.share, mixed.partner_labels
        assert ((own >= 0.5) == (weights >= 0.5)).all()
        assert len(own.unique()) == 5, "each sample has a share of its own"
        torch.testing.assert_close(
            mixed.inputs, own[:, None] * batch.inputs + (1 - own)[:, None] * batch.inputs[partner]
        )
        logits = torch.randn(5, 5, generator=generator(1), dtype=torch.float64)
        expected = own * cross_entropy(logits, batch.labels) + (1 - own) * cross_entropy(logits, partner)
        torch.testing.assert_close(losses_of(logits, cross_entropy, mixed), expected)

    def test_it_is_made_by_name(self) -> None:
        made = make_mixing("mentormix-published", 8.0)
        assert isinstance(made, PublishedMentorMix)
        assert made.alpha == 8.0


class ByLoss(AbstractWeighting):
    """Half of exp(−ℓ), and what it was asked."""

    def __init__(self) -> None:
        self.asked: list[Observation] = []

    def __call__(self, observation: Observation) -> Tensor:
        self.asked.append(observation)
        return (-observation.features.loss).exp() / 2


def step_of(batch: Batch, **parts: object) -> tuple[Curriculum, ByLoss, object]:
    weighting = ByLoss()
    curriculum = curriculum_of(student_of(), mixing=PublishedMentorMix(2.0), weighting=weighting, **parts)
    return curriculum, weighting, curriculum.step(batch)


class TestTheSecondWeighting:
    def test_it_is_of_the_mixed_batch_and_what_the_student_learns_under(self) -> None:
        before, batch = student_of(), batch_of(8)
        curriculum = curriculum_of(student_of(), mixing=PublishedMentorMix(2.0), weighting=ByLoss())
        record = curriculum.step(batch)
        mixed = record.batch
        assert mixed.share is not None
        with torch.no_grad():
            plain, losses = cross_entropy(before(batch.inputs), batch.labels), None
            losses = losses_of(before(mixed.inputs), cross_entropy, mixed)
        torch.testing.assert_close(record.losses, plain)
        torch.testing.assert_close(record.scored, (-plain).exp() / 2)
        torch.testing.assert_close(record.sample_weights, (-losses).exp() / 2)
        weights = record.sample_weights / record.sample_weights.sum()
        total = (weights * losses_of(before(mixed.inputs), cross_entropy, mixed)).sum()
        gradients = torch.autograd.grad(total, list(before.parameters()))
        for found, was, gradient in zip(curriculum.student.parameters(), before.parameters(), gradients, strict=True):
            torch.testing.assert_close(found, was - 0.1 * gradient)

    def test_percentile_and_history_know_the_samples_as_they_are(self) -> None:
        batch = batch_of(8)
        config = MentorConfig(history_length=1, mentor_features=("loss", "history"), percentile_decay=0.0)
        curriculum, weighting, _ = step_of(batch, config=config)
        first, second = weighting.asked
        plain = first.features.loss
        torch.testing.assert_close(curriculum.history.past(batch.rows)[:, 0], plain)
        assert curriculum.percentile.value == pytest.approx(float(torch.quantile(plain.double(), 0.6)), rel=1e-6)
        assert not torch.equal(second.features.loss, plain)
        difference = second.features.loss - curriculum.percentile.value  # type: ignore[operator]
        torch.testing.assert_close(second.features.loss_difference, difference)

    def test_in_burn_in_all_count_alike_and_every_batch_is_mixed(self) -> None:
        curriculum = curriculum_of(student_of(), mixing=PublishedMentorMix(2.0), weighting=ByLoss(), burn_in=0.9)
        records = [curriculum.step(batch_of(8, seed)) for seed in range(3)]
        for record in records:
            assert (record.sample_weights == 1).all()
            assert record.batch.share is not None
            assert (record.batch.share >= 0.5).all()

    def test_guards_look_once_a_step_at_the_second(self) -> None:
        asked = []
        curriculum = curriculum_of(student_of(), mixing=PublishedMentorMix(2.0), weighting=ByLoss())
        curriculum.guards.collapsed = lambda seen, scored: bool(asked.append(scored))  # type: ignore[method-assign,func-returns-value]
        record = curriculum.step(batch_of(8))
        (scored,) = asked
        assert torch.equal(scored, record.sample_weights)


@pytest.mark.parametrize("trusts", [False, True])
def test_the_hypergradient_is_that_of_double_backward(trusts: bool) -> None:
    """Through the second weights and the real step, in float64; a trusted sample has weight 1 both times."""
    torch.set_default_dtype(torch.float64)
    try:
        config = MentorConfig(mentor_features=("loss",), mentor_hidden=(6,), update_interval=1, anchor=0.0, entropy=0.0)
        access = Spy(MentorLearner(config, 3, 1))
    finally:
        torch.set_default_dtype(torch.float32)
    student, before = student_of(torch.float64), student_of(torch.float64)
    curriculum = curriculum_of(
        student, config=config, mixing=PublishedMentorMix(2.0), weighting=Learned(access), mentor=access
    )
    trusted = torch.arange(8) % 4 == 3 if trusts else torch.zeros(8, dtype=torch.bool)
    batch = dataclasses.replace(batch_of(8, dtype=torch.float64), trusted=trusted)
    mixed: list[Batch] = []
    look_back = curriculum.meta.look_back
    curriculum.meta.look_back = lambda step, weighed, *rest, **more: (  # type: ignore[method-assign]
        mixed.append(weighed.seen.batch), look_back(step, weighed, *rest, **more))[1]  # fmt: skip
    record = curriculum.step(batch)

    params = list(before.parameters())
    losses = losses_of(before(mixed[0].inputs), cross_entropy, mixed[0])
    w = torch.ones(8, dtype=torch.float64)
    w[~trusted] = record.sample_weights
    w.requires_grad_()
    gradients = torch.autograd.grad((w * losses).sum() / w.sum(), params, create_graph=True)
    moved = [param - 0.1 * gradient for param, gradient in zip(params, gradients, strict=True)]
    meta = batch_of(6, seed=9, dtype=torch.float64)
    meta_loss = cross_entropy(nn.functional.linear(meta.inputs, *moved), meta.labels).mean()
    (truth,) = torch.autograd.grad(meta_loss, w)
    (update,) = access.updates
    torch.testing.assert_close(update.features.loss, losses.detach(), rtol=1e-12, atol=1e-12)
    # ∂M/∂w of weights divided by their sum: s_i/Σw, less what a larger weight takes from the others
    shares_of_all = (w / w.sum()).detach()
    found = (update.influence - (shares_of_all * update.influence).sum()) / w.detach().sum()
    torch.testing.assert_close(found, truth, rtol=1e-9, atol=1e-13)
    assert record.influence.isfinite().all()


def test_it_goes_with_any_method_and_needs_no_trusted_samples_in_training() -> None:
    schedule = CurriculumConfig("uniform", mixing="mentormix-published", meta_in_training=0.0)
    curriculum = curriculum_of(student_of(), schedule=schedule, mixing=make_mixing("mentormix-published", 1.0))
    assert curriculum.step(batch_of(6)).batch.share is not None
