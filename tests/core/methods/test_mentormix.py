"""Mixing by weight: who is mixed with whom, how often, and who mixes so."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tiny_run import batch_of, curriculum_of, student_of
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from ray_mentor.config import CurriculumConfig, MentorConfig
from ray_mentor.core.batch import Arguments
from ray_mentor.core.losses import ExpectedError, expected_error
from ray_mentor.core.losses import cross_entropy as per_sample
from ray_mentor.core.mentor.access import LocalMentor
from ray_mentor.core.mentor.learner import MentorLearner
from ray_mentor.core.methods.mixing import MentorMix
from ray_mentor.core.methods.table import parts_of
from ray_mentor.core.methods.weightings import AbstractWeighting
from ray_mentor.core.state.curriculum import capture_curriculum, restore_curriculum
from ray_mentor.core.step.memorising import Memorising, MemorisingState
from ray_mentor.core.step.observation import Observation
from ray_mentor.errors import NonFiniteLossError, UserError


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


class TestWhatIsMixed:
    def test_partners_are_drawn_by_weight(self) -> None:
        weights = torch.tensor([0.5, 0.0, 0.25, 0.0, 0.25])
        batch = dataclasses.replace(batch_of(), labels=torch.arange(5))
        drawn = [MentorMix(1.0)(batch, generator(seed), weights).partner_labels for seed in range(600)]
        counts = torch.cat([labels for labels in drawn if labels is not None]).bincount(minlength=5)
        torch.testing.assert_close(counts / counts.sum(), weights, rtol=0, atol=0.03)

    def test_inputs_and_labels_are_the_same_partners(self) -> None:
        batch = dataclasses.replace(batch_of(dtype=torch.float64), labels=torch.arange(5))
        mixed = MentorMix(1.0)(batch, generator(3), torch.ones(5))
        assert mixed.share is not None
        assert mixed.partner_labels is not None
        share = mixed.share[:, None]
        assert 0.5 <= float(share[0]) < 1
        torch.testing.assert_close(
            mixed.inputs, share * batch.inputs + (1 - share) * batch.inputs[mixed.partner_labels]
        )
        assert torch.equal(mixed.labels, batch.labels)

    def test_weights_that_are_all_zero_draw_all_alike(self) -> None:
        assert MentorMix(1.0)(batch_of(), generator(), torch.zeros(5)).partner_labels is not None

    def test_several_inputs_are_refused(self) -> None:
        batch = dataclasses.replace(batch_of(), inputs=Arguments((torch.zeros(5),), {}))
        with pytest.raises(UserError, match="mixing is 'mentormix', which mixes one tensor of inputs"):
            MentorMix(1.0)(batch, generator(), torch.ones(5))


class FirstThree(AbstractWeighting):
    """Believes the first three samples."""

    def __call__(self, observation: Observation) -> Tensor:
        return (torch.arange(len(observation.features)) < 3).float()


class TestPartnersAreDrawnByTheWeightsTrainedWith:
    """By those after burn-in, guards and example dropout; not by what the mentor said."""

    def partners(self, **changes: Any) -> list[tuple[set[int], set[int]]]:
        """Of each step, who was trained on, and who was mixed in; the label of a sample is its name."""
        curriculum = curriculum_of(
            nn.Linear(4, 5), mixing=MentorMix(1.0), weighting=FirstThree(), total_steps=100, **changes
        )
        curriculum.memorising.state = MemorisingState(share=1.0)
        batch = dataclasses.replace(batch_of(), labels=torch.arange(5))
        records = [curriculum.step(batch) for _ in range(40)]
        mixed_in = [record.batch.partner_labels for record in records]
        assert all(labels is not None for labels in mixed_in)
        return [
            (set(record.sample_weights.nonzero()[:, 0].tolist()), set(labels.tolist()))
            for record, labels in zip(records, mixed_in, strict=True)
            if labels is not None
        ]

    def test_a_dropped_sample_is_nobodys_partner(self) -> None:
        found = self.partners(schedule=CurriculumConfig(example_dropout="0.4:1"))
        assert all(partners <= trained_on for trained_on, partners in found)
        assert any(trained_on < {0, 1, 2} for trained_on, _ in found)

    def test_in_burn_in_all_are_partners(self) -> None:
        found = self.partners(burn_in=0.9)
        assert set().union(*(partners for _, partners in found)) == set(range(5))

    def test_else_those_that_are_believed(self) -> None:
        found = self.partners()
        assert set().union(*(partners for _, partners in found)) == {0, 1, 2}


class TestHowOften:
    @given(st.lists(st.floats(0, 5), min_size=1), st.sampled_from([0.0, 0.3, 1.0, 5.0]))
    def test_the_share(self, losses: list[float], unseen: float) -> None:
        memorising = Memorising(lambda values: values)
        memorising.note_unseen(unseen)
        assert memorising.share == 0, "nothing to measure it by"
        for loss in losses:
            memorising.note_trained(torch.tensor([loss]))
        assert memorising.share == 0
        memorising.note_unseen(unseen)
        expected = 1 - np.float32(losses).astype(float).mean() / unseen if unseen > 0 else 0.0
        assert memorising.share == pytest.approx(max(expected, 0.0))

    @pytest.mark.parametrize(("trained", "unseen"), [(-1.0, 2.0), (-3.0, -2.0), (1.0, -2.0)])
    def test_a_loss_below_0_has_no_share(self, trained: float, unseen: float) -> None:
        memorising = Memorising(lambda values: values)
        memorising.state = MemorisingState(0.7, 1.0, 2)
        memorising.note_trained(torch.tensor([2 * trained - 1.0]))
        memorising.note_unseen(unseen)
        assert memorising.state == MemorisingState()

    def test_each_epoch_anew(self) -> None:
        memorising = Memorising(expected_error)
        for losses, unseen, share in (
            ([0.1, 2.0, 0.7], 0.8, None),
            ([0.0], 0.8, 1.0),
            ([], 0.5, 1.0),
            ([3.0], 0.1, 0.0),
        ):
            memorising.note_trained(torch.tensor(losses))
            memorising.note_trained(torch.zeros(0))
            memorising.note_unseen(unseen)
            if share is None:
                share = 1 - float((1 - torch.exp(-torch.tensor(losses))).mean()) / unseen
            assert memorising.share == pytest.approx(share)

    @pytest.mark.parametrize("meta_loss", ["error", "loss"])
    def test_a_step_measures_its_trusted_samples(self, meta_loss: str) -> None:
        student = student_of()
        trusted = torch.tensor([True, False, False, True, False])
        batch = dataclasses.replace(batch_of(), trusted=trusted)
        losses = cross_entropy(student(batch.inputs), batch.labels, reduction="none")[trusted].detach()
        parts = {"error": ExpectedError(per_sample), "loss": per_sample}
        curriculum = curriculum_of(student, meta_loss=parts[meta_loss])
        curriculum.step(batch)
        expected = (1 - torch.exp(-losses)) if meta_loss == "error" else losses
        assert curriculum.memorising.state.total == pytest.approx(float(expected.sum()), rel=1e-5)
        assert curriculum.memorising.state.samples == 2
        curriculum.note_holdout(4.0)
        assert curriculum.memorising.share == pytest.approx(1 - float(expected.mean()) / 4, rel=1e-5)

    def test_it_goes_on_from_a_state(self) -> None:
        straight, again = (curriculum_of(student_of(), mixing=MentorMix(1.0), total_steps=9) for _ in range(2))
        straight.memorising.state = MemorisingState(0.25, 0.5, 3)
        restore_curriculum(capture_curriculum(straight, None), again)
        assert again.memorising.state == straight.memorising.state

    def test_a_share_of_the_steps_and_no_others(self) -> None:
        curriculum = curriculum_of(student_of(), mixing=MentorMix(1.0), total_steps=421)
        curriculum.memorising.state = MemorisingState(share=0.3)
        mixed = [curriculum.step(batch_of()).batch.share is not None for _ in range(400)]
        assert sum(mixed) / 400 == pytest.approx(0.3, abs=0.06)
        curriculum.memorising.state = MemorisingState(share=0.0)
        assert all(curriculum.step(batch_of()).batch.share is None for _ in range(20))


def test_a_mixed_loss_that_is_not_finite_changes_nothing() -> None:
    student = _Breaks()
    curriculum = curriculum_of(student, mixing=MentorMix(1.0))
    curriculum.memorising.state = MemorisingState(share=1.0)
    before = student.layer.weight.detach().clone()
    with pytest.raises(NonFiniteLossError, match="the loss is not finite at step 0"):
        curriculum.step(batch_of())
    assert torch.equal(student.layer.weight, before)


class _Breaks(nn.Module):
    """Cannot bear what it learns from."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        outputs: Tensor = self.layer(x)
        return outputs * torch.nan if torch.is_grad_enabled() else outputs


def test_who_mixes_by_weight() -> None:
    def mixing_of(**settings: object) -> str:
        mentor = MentorConfig(meta_holdout=settings.pop("meta_holdout", 0.1))  # type: ignore[arg-type]
        parts = parts_of(CurriculumConfig(**settings), mentor, access, None, lambda _: None)  # type: ignore[arg-type,return-value]
        return type(parts.mixing).__name__

    access = LocalMentor(MentorLearner(MentorConfig(), 3, 0))
    assert mixing_of() == mixing_of(mixing="mentormix") == "MentorMix"
    assert mixing_of(mixing="none") == mixing_of(meta_in_training=0.0) == mixing_of(method="uniform") == "NoMixing"
    assert mixing_of(meta_holdout=0.0) == "NoMixing"
    assert mixing_of(mixing="mixup", method="uniform") == "MixUp"
    for method in ("uniform", "oracle", "self-paced"):
        assert mixing_of(mixing="mentormix", method=method) == "MentorMix"
        assert mixing_of(method=method) == "NoMixing"
    for settings in ({"meta_in_training": 0.0}, {"meta_holdout": 0.0}, {"method": "uniform", "meta_holdout": 0.0}):
        with pytest.raises(UserError, match="mixing is 'mentormix', which mixes as often as the student memorises"):
            mixing_of(mixing="mentormix", **settings)
