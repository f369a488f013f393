"""Mixing by weight: who is mixed with whom, how often, and who mixes so."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tiny_run import batch_of, curriculum_of, student_of
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from ray_mentor.config import CurriculumConfig, MentorConfig
from ray_mentor.core.batch import Arguments
from ray_mentor.core.curriculum_state import capture_curriculum, restore_curriculum
from ray_mentor.core.losses import expected_error
from ray_mentor.core.memorising import Memorising
from ray_mentor.core.mentor_access import LocalMentor
from ray_mentor.core.mentor_learner import MentorLearner
from ray_mentor.core.methods import parts_of
from ray_mentor.core.mixing import MentorMix
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


class TestHowOften:
    @given(st.floats(0, 5), st.floats(0, 5))
    def test_the_share(self, trained: float, unseen: float) -> None:
        memorising = Memorising(expected_error)
        assert memorising.share == 0
        memorising.trained = trained
        assert memorising.share == 0
        memorising.unseen = unseen
        assert 0 <= memorising.share <= 1
        if trained <= unseen and unseen > 0:
            assert memorising.share == pytest.approx(1 - trained / unseen)
        else:
            assert memorising.share == 0

    def test_the_running_means(self) -> None:
        memorising = Memorising(expected_error)
        losses = torch.tensor([0.1, 2.0, 0.7])
        memorising.note_trained(torch.zeros(0))
        assert memorising.trained is None
        memorising.note_trained(losses)
        first = float((1 - torch.exp(-losses)).mean())
        assert memorising.trained == pytest.approx(first)
        memorising.note_trained(torch.zeros(100))
        assert memorising.trained == pytest.approx(0.75 * first)
        memorising.note_unseen(0.8, 100)
        memorising.note_unseen(0.4, 300)
        assert memorising.unseen == pytest.approx(0.6)

    @pytest.mark.parametrize("meta_loss", ["error", "loss"])
    def test_a_step_measures_its_trusted_samples(self, meta_loss: str) -> None:
        student = student_of()
        trusted = torch.tensor([True, False, False, True, False])
        batch = dataclasses.replace(batch_of(), trusted=trusted)
        losses = cross_entropy(student(batch.inputs), batch.labels, reduction="none")[trusted].detach()
        curriculum = curriculum_of(student, config=MentorConfig(update_interval=1, meta_loss=meta_loss))  # type: ignore[arg-type]
        curriculum.step(batch)
        expected = (1 - torch.exp(-losses)) if meta_loss == "error" else losses
        assert curriculum.memorising.trained == pytest.approx(float(expected.mean()), rel=1e-5)
        assert curriculum.memorising.unseen is None, "no mentor learns"

    def test_a_meta_update_measures_what_was_not_seen(self) -> None:
        access = LocalMentor(MentorLearner(MentorConfig(), 3, 0))
        curriculum = curriculum_of(
            student_of(), mentor=access, config=MentorConfig(update_interval=2, meta_batch_size=6), total_steps=9
        )
        unseen = None
        for step in range(4):
            meta_loss = curriculum.step(batch_of(seed=step)).meta_loss
            assert (meta_loss is None) == bool(step % 2)
            if meta_loss is not None:
                unseen = meta_loss if unseen is None else unseen + 6 / 306 * (meta_loss - unseen)
            assert curriculum.memorising.unseen == pytest.approx(unseen)

    def test_it_goes_on_from_a_state(self) -> None:
        straight, again = (curriculum_of(student_of(), mixing=MentorMix(1.0), total_steps=9) for _ in range(2))
        straight.memorising.trained, straight.memorising.unseen = 0.25, 0.5
        restore_curriculum(capture_curriculum(straight, None), again)
        assert (again.memorising.trained, again.memorising.unseen) == (0.25, 0.5)

    def test_a_share_of_the_steps_and_no_others(self) -> None:
        curriculum = curriculum_of(student_of(), mixing=MentorMix(1.0), total_steps=400)
        mixed = []
        for _ in range(400):
            curriculum.memorising.trained, curriculum.memorising.unseen = 0.7, 1.0
            mixed.append(curriculum.step(batch_of()).batch.share is not None)
        assert sum(mixed) / 400 == pytest.approx(0.3, abs=0.06)
        curriculum.memorising.trained = 1.0
        assert all(curriculum.step(batch_of()).batch.share is None for _ in range(20))


def test_a_mixed_loss_that_is_not_finite_changes_nothing() -> None:
    student = _Breaks()
    curriculum = curriculum_of(student, mixing=MentorMix(1.0))
    curriculum.memorising.trained, curriculum.memorising.unseen = 0.0, 1e9
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
        parts = parts_of(CurriculumConfig(**settings), MentorConfig(), access, None, lambda _: None)  # type: ignore[arg-type,return-value]
        return type(parts.mixing).__name__

    access = LocalMentor(MentorLearner(MentorConfig(), 3, 0))
    assert mixing_of() == mixing_of(mixing="mentormix") == "MentorMix"
    assert mixing_of(mixing="none") == mixing_of(meta_in_training=0.0) == mixing_of(method="uniform") == "NoMixing"
    assert mixing_of(mixing="mixup", method="uniform") == "MixUp"
    for settings in ({"method": "self-paced"}, {"meta_in_training": 0.0}):
        with pytest.raises(UserError, match="mixing is 'mentormix', which mixes as often as the student memorises"):
            mixing_of(mixing="mentormix", **settings)
