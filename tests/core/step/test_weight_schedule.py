"""Normalisation, example dropout, burn-in."""

from __future__ import annotations

import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st
from tiny_run import batch_of, curriculum_of, student_of
from torch import Tensor

from ray_mentor.config import CurriculumConfig, MentorConfig, parse_schedule
from ray_mentor.core.methods.weightings import AbstractWeighting
from ray_mentor.core.step.normalisation import NORMALISATIONS, normalise
from ray_mentor.core.step.observation import Observation
from ray_mentor.core.step.schedules import kept, rate_at, scheduled_weights
from ray_mentor.errors import UserError

WEIGHTS = st.lists(st.floats(0, 1, width=32), min_size=1, max_size=20)


class Half(AbstractWeighting):
    """Half a weight for every sample."""

    def __call__(self, observation: Observation) -> Tensor:
        return torch.full_like(observation.features.loss, 0.5)


@given(WEIGHTS)
def test_normalised_weights(values: list[float]) -> None:
    w = torch.tensor(values, dtype=torch.float64)
    torch.testing.assert_close(normalise(w, "batch"), w / len(values))
    found = normalise(w, "sum")
    assert (found >= 0).all()
    if w.sum() > 0:
        assert float(found.sum()) == pytest.approx(1)
        torch.testing.assert_close(found * w.sum(), w)


@pytest.mark.parametrize("how", NORMALISATIONS)
def test_weights_that_are_all_zero_stay_so_with_a_sound_gradient(how: str) -> None:
    w = torch.zeros(4, requires_grad=True)
    found = normalise(w, how)
    (gradient,) = torch.autograd.grad((found * torch.tensor([1.0, -2.0, 3.0, 4.0])).sum(), w)
    assert torch.equal(found, torch.zeros(4))
    assert gradient.isfinite().all()


def test_unknown_normalisation() -> None:
    with pytest.raises(UserError, match="unknown normalisation 'mean'; valid: sum, batch"):
        normalise(torch.ones(2), "mean")


@given(st.integers(1, 3000), st.integers(0, 99), st.integers(0, 2**32))
@example(10, 90, 0)
@example(300, 31, 0)
def test_example_dropout_keeps_an_exact_count(n: int, percent: int, seed: int) -> None:
    """⌊n·(1 − rate)⌋ in exact arithmetic: of ten samples at rate 0.9 one is kept, not none."""
    keep = kept(n, percent / 100, torch.Generator().manual_seed(seed))
    assert keep.dtype == torch.bool
    assert keep.shape == (n,)
    assert int(keep.sum()) == n * (100 - percent) // 100


def test_example_dropout_is_fair_and_follows_its_generator() -> None:
    draws = torch.stack([kept(10, 0.3, torch.Generator().manual_seed(seed)) for seed in range(2000)])
    shares = draws.double().mean(dim=0)
    assert (shares - 0.7).abs().max() < 0.06  # six standard deviations
    assert torch.equal(draws[5], kept(10, 0.3, torch.Generator().manual_seed(5)))


def test_rates_over_training() -> None:
    schedule = parse_schedule("0.5:0.17,0.05:0.83")
    assert [rate_at(schedule, progress) for progress in (0.0, 0.1699, 0.17, 0.5, 0.999999999)] == [
        0.5,
        0.5,
        0.05,
        0.05,
        0.05,
    ]
    assert rate_at((), 0.3) == 0


def test_shares_whose_sum_rounds_below_one_still_cover_the_end() -> None:
    schedule = parse_schedule(",".join(f"0.{digit}:0.1" for digit in range(10)))
    assert rate_at(schedule, 1 - 1e-17) == 0.9
    assert rate_at(schedule, 1 - 1e-9) == 0.9


@given(WEIGHTS, st.booleans())
def test_scheduled_weights(values: list[float], in_burn_in: bool) -> None:
    scored = torch.tensor(values)
    keep = torch.arange(len(values)) % 3 != 0
    expected = [0.0 if i % 3 == 0 else 1.0 if in_burn_in else value for i, value in enumerate(scored.tolist())]
    assert scheduled_weights(scored, keep, in_burn_in).tolist() == expected


def test_burn_in_sets_weights_to_one_and_example_dropout_applies_all_the_same() -> None:
    schedule = CurriculumConfig(example_dropout="0.4:1")
    curriculum = curriculum_of(student_of(), weighting=Half(), schedule=schedule, total_steps=4, burn_in=0.5)
    for step in range(4):
        record = curriculum.step(batch_of())
        given = 1.0 if step < 2 else 0.5
        assert sorted(record.sample_weights.tolist()) == [0, 0, given, given, given]
        assert record.scored.tolist() == [0.5] * 5


@pytest.mark.parametrize("how", NORMALISATIONS)
def test_the_student_steps_along_the_normalised_weights(how: str) -> None:
    student = student_of(torch.float64)
    before = [param.detach().clone() for param in student.parameters()]
    batch = batch_of(dtype=torch.float64)
    curriculum = curriculum_of(
        student,
        weighting=Half(),
        config=MentorConfig(normalisation=how),
        schedule=CurriculumConfig(example_dropout="0.4:1"),
    )
    weights = torch.full((5,), 0.5, dtype=torch.float64)
    keep = kept(5, 0.4, curriculum.generator("dropout"))
    total = (
        weights * keep * torch.nn.functional.cross_entropy(student(batch.inputs), batch.labels, reduction="none")
    ).sum()
    gradients = torch.autograd.grad(total / (1.5 if how == "sum" else 5), list(student.parameters()))
    curriculum.step(batch)
    for param, old, gradient in zip(student.parameters(), before, gradients, strict=True):
        torch.testing.assert_close(param.detach(), old - 0.1 * gradient, rtol=1e-12, atol=1e-14)


def test_progress_stays_below_one_beyond_the_planned_steps() -> None:
    curriculum = curriculum_of(student_of(), total_steps=2)
    for _ in range(4):
        assert (curriculum.observe(batch_of()).features.progress < 1).all()
        assert curriculum.progress < 1
        curriculum.step(batch_of())
