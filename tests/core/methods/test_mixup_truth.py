"""MixUp: x̃ = λx + (1 − λ)x′, and the loss likewise."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tiny_run import batch_of, curriculum_of, student_of
from torch.nn.functional import cross_entropy

from ray_mentor.config import MIXINGS
from ray_mentor.core.losses import cross_entropy as per_sample
from ray_mentor.core.losses import per_sample_losses
from ray_mentor.core.methods.mixing import AbstractMixing, MentorMix, MixUp, NoMixing, PublishedMentorMix, make_mixing
from ray_mentor.errors import UserError


@given(st.integers(0, 2**31), st.sampled_from([0.2, 1.0, 8.0]))
def test_inputs_and_losses_are_mixed_alike(seed: int, alpha: float) -> None:
    batch = batch_of(dtype=torch.float64)
    mixed = MixUp(alpha)(batch, torch.Generator().manual_seed(seed))
    assert mixed.share is not None
    assert mixed.partner_labels is not None
    share = float(mixed.share[0])
    assert 0.5 <= share <= 1
    assert torch.equal(mixed.share, torch.full((5,), share, dtype=torch.float64))
    assert torch.equal(mixed.labels, batch.labels)

    # each row's partner, found by what was mixed into it
    parts = (mixed.inputs - share * batch.inputs) / max(1 - share, 1e-300)
    if share < 0.999:
        partner = torch.cdist(parts, batch.inputs).argmin(dim=1)
        torch.testing.assert_close(parts, batch.inputs[partner], rtol=1e-6, atol=1e-8)
        assert sorted(partner.tolist()) == [0, 1, 2, 3, 4]
        assert torch.equal(mixed.partner_labels, batch.labels[partner])

    student = student_of(torch.float64)
    logits = student(mixed.inputs)
    own, others = (cross_entropy(logits, labels, reduction="none") for labels in (batch.labels, mixed.partner_labels))
    torch.testing.assert_close(per_sample_losses(student, per_sample, mixed), share * own + (1 - share) * others)


def test_each_is_mixed_with_any() -> None:
    """A permutation drawn anew each time: over many, each is everyone's partner as often."""
    batch = dataclasses.replace(batch_of(), labels=torch.arange(5))
    partners = [MixUp(1.0)(batch, torch.Generator().manual_seed(s)).partner_labels for s in range(600)]
    counts = sum(torch.nn.functional.one_hot(each, 5) for each in partners if each is not None)
    assert isinstance(counts, torch.Tensor)
    assert counts.sum() == 5 * 600
    assert (counts - 120).abs().max() < 50  # five standard deviations


def test_images_in_bytes_are_mixed_as_numbers() -> None:
    batch = batch_of()
    in_bytes = dataclasses.replace(batch, inputs=torch.randint(256, (5, 4), dtype=torch.uint8))
    mixed = MixUp(1.0)(in_bytes, torch.Generator().manual_seed(1))
    assert mixed.share is not None
    assert mixed.inputs.dtype == mixed.share.dtype == torch.float32
    assert 0.5 <= float(mixed.share[0]) < 1


@pytest.mark.parametrize("dtype", [torch.int8, torch.int16, torch.int32, torch.int64, torch.bool])
@pytest.mark.parametrize("mixing", [MixUp(1.0), MentorMix(1.0)])
def test_ids_are_not_mixed(mixing: AbstractMixing, dtype: torch.dtype) -> None:
    batch = dataclasses.replace(batch_of(), inputs=torch.ones(5, 4, dtype=dtype))
    with pytest.raises(
        UserError, match="which blends inputs, but these are integers, and between two ids or codes lies"
    ):
        mixing(batch, torch.Generator().manual_seed(1), torch.ones(5))


def test_the_share_follows_beta() -> None:
    shares = [float(MixUp(1.0)(batch_of(2), torch.Generator().manual_seed(s)).share[0]) for s in range(600)]
    assert sum(shares) / len(shares) == pytest.approx(0.75, abs=0.03)  # uniform on [1/2, 1]


def test_names() -> None:
    assert [type(make_mixing(name, 1.0)) for name in MIXINGS] == [
        NoMixing,
        MixUp,
        MentorMix,
        PublishedMentorMix,
    ]


def test_a_mixed_step_is_recorded_under_the_samples_own_labels() -> None:
    batch = batch_of()
    record = curriculum_of(student_of(), mixing=MixUp(1.0)).step(batch)
    assert torch.equal(record.batch.labels, batch.labels)
    assert record.batch.partner_labels is not None
