"""MentorNet DD inside a run: the rows, the noise rate, when it is taught, and what a checkpoint holds of it."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from thread_ranks import on_ranks
from tiny_run import batch_of, curriculum_of, observation_of, student_of
from torch import Tensor
from torch.nn import functional as F

from ray_mentor.config import CurriculumConfig, MentorConfig
from ray_mentor.core.epoch import EpochEnd
from ray_mentor.core.exchange import AbstractExchange, Alone
from ray_mentor.core.losses import cross_entropy
from ray_mentor.core.methods.table import method_of
from ray_mentor.core.methods.weightings import Taught
from ray_mentor.core.methods.weightings.taught import noise_rate, rows_of
from ray_mentor.core.step.evaluation import losses_by_label
from ray_mentor.errors import UserError

pytestmark = pytest.mark.long  # mentors that are taught: each lesson takes a second

C, N = 3, 60


def table_of(*, wrong: float = 3.0) -> Tensor:
    """Losses of 0.2 ± 0.1 under the right label, and ``wrong`` ± 0.1 under the others."""
    draw = torch.Generator().manual_seed(0)
    right = torch.arange(N) % C
    losses = torch.full((N, C), wrong, dtype=torch.float64)
    losses[torch.arange(N), right] = 0.2
    losses += 0.1 * (2 * torch.rand(N, C, generator=draw, dtype=torch.float64) - 1)
    return torch.cat([losses, right.double()[:, None]], dim=1)


def end_of(progress: float, table: Tensor | None = None, said: list[str] | None = None) -> EpochEnd:
    found = table_of() if table is None else table
    return EpochEnd(
        1,
        progress,
        predicted=lambda: torch.zeros(0),
        labelled=lambda: found,
        percentile=0.3,
        tell=lambda text: (said if said is not None else []).append(text),
    )


def taught(points: tuple[float, ...] = (0.21, 0.75), **mentor: object) -> Taught:
    return Taught(MentorConfig(**mentor), points)  # type: ignore[arg-type]


def test_the_rows_by_hand() -> None:
    table = torch.tensor([[0.1, 2.0, 3.0, 0.0], [5.0, 0.5, 4.0, 1.0]], dtype=torch.float64)
    rows, sample = rows_of(table, percentile=1.0, rate=0.4, progress=0.25)
    assert rows.features.loss.tolist() == pytest.approx([0.1, 2, 3, 5, 0.5, 4])
    assert rows.features.loss_difference.tolist() == pytest.approx([-0.9, 1, 2, 4, -0.5, 3])
    assert rows.features.label.tolist() == [0, 1, 2, 0, 1, 2]
    assert rows.features.progress.tolist() == [0.25] * 6
    assert rows.target.tolist() == [1, 0, 0, 0, 1, 0]
    assert rows.mass.tolist() == pytest.approx([0.6, 0.2, 0.2, 0.2, 0.6, 0.2])
    assert sample.tolist() == [0, 0, 0, 1, 1, 1]


def test_the_noise_rate_by_hand() -> None:
    """All right labels lie below the percentile and no wrong one: 60 % below it are the right ones."""
    assert noise_rate(table_of(), 1.0, 0.6) == pytest.approx(0.4)
    assert noise_rate(table_of(), 1.0, 1 - 1e-9) == 0.01, "never none"
    assert noise_rate(table_of(wrong=0.2), 0.2, 0.6) in (0.5, 0.01, 0.99)
    assert noise_rate(table_of(), 100.0, 0.6) == 0.5, "nothing tells the two apart"


def test_the_noise_rate_of_a_mixture_is_found() -> None:
    draw = torch.Generator().manual_seed(0)

    def losses(right: Tensor) -> Tensor:
        return torch.where(right, 0.5, 2.5) + 0.6 * torch.randn(right.shape, generator=draw, dtype=torch.float64)

    truth = torch.rand(20_000, generator=draw) < 0.7
    percentile = float(torch.quantile(losses(truth), 0.6))
    label = torch.arange(4000) % C
    table = torch.cat([losses(torch.arange(C) == label[:, None]), label.double()[:, None]], dim=1)
    assert noise_rate(table, percentile, 0.6) == pytest.approx(0.3, abs=0.03)


@pytest.mark.parametrize("mentor", ["mlp", "mentornet"])
def test_before_its_first_lesson_all_weigh_the_same_and_then_it_tells_losses_apart(mentor: str) -> None:
    weighting, said = taught(mentor=mentor), []
    seen = observation_of(torch.tensor([0.2, 3.0]), torch.tensor([-0.1, 2.7]))
    weighting.at_epoch(end_of(0.2, said=said))
    assert weighting(seen).tolist() == [1, 1]
    weighting.at_epoch(end_of(0.25, said=said))
    right, wrong = weighting(seen).tolist()
    assert right > 0.9
    assert wrong < 0.1
    (line,) = said
    assert line.startswith("at 25 % of training the mentor was taught on 144 rows, 40 % of them with a wrong label")
    assert "AUROC 1.000" in line


def test_it_is_taught_once_behind_each_point_and_frozen_between() -> None:
    weighting, states = taught(), []
    for epoch in range(1, 21):
        weighting.at_epoch(end_of(epoch / 20))
        states.append(weighting.state)
    changes = [epoch for epoch, (a, b) in enumerate(zip([None, *states], states, strict=False), 1) if a is not b]
    assert changes == [5, 15]
    assert not torch.equal(states[4], states[14])


def test_the_progress_that_it_sees_is_frozen_too() -> None:
    weighting = taught(mentor="mentornet")
    weighting.at_epoch(end_of(0.25))
    seen = observation_of(torch.tensor([0.2, 1.0, 3.0]), torch.tensor([-0.1, 0.7, 2.7]))
    late = dataclasses.replace(seen.features, progress=torch.full((3,), 0.7))
    assert torch.equal(weighting(seen), weighting(dataclasses.replace(seen, features=late)))


@pytest.mark.parametrize(
    "mentor",
    [
        {"mentor": "mentornet"},
        {},
        {"mentor_features": ("label", "progress", "loss"), "mentor_hidden": (8,)},
        {"mentor_features": ("loss", "progress"), "mentor_hidden": ()},
    ],
)
def test_what_another_run_gets_of_it_weighs_as_it_did_at_any_progress(mentor: dict[str, object]) -> None:
    weighting = taught(**mentor)  # type: ignore[arg-type]
    assert weighting.frozen is None
    weighting.at_epoch(end_of(0.25))
    learner = weighting.frozen
    assert learner is not None
    seen = observation_of(torch.tensor([0.2, 1.0, 3.0]), torch.tensor([-0.1, 0.7, 2.7]))
    for progress in (0.0, 0.25, 0.9):
        features = dataclasses.replace(seen.features, progress=torch.full((3,), progress))
        torch.testing.assert_close(learner.score(features), weighting(seen))


def test_what_a_checkpoint_holds_is_all_of_it() -> None:
    first, second = taught(), taught()
    first.at_epoch(end_of(0.3))
    assert first.state is not None
    assert first.could_be(first.state, C)
    second.state = first.state.clone()
    seen = observation_of(torch.tensor([0.2, 1.0, 3.0]), torch.tensor([-0.1, 0.7, 2.7]))
    assert torch.equal(second(seen), first(seen))
    for weighting in (first, second):
        weighting.at_epoch(end_of(0.5))
        weighting.at_epoch(end_of(0.8))
    assert torch.equal(second.state, first.state)
    assert not first.could_be(first.state, C + 1)
    assert not first.could_be(first.state[:-1], C)
    assert not taught(mentor_hidden=(7,)).could_be(first.state, C)


def test_losses_that_are_not_finite_teach_nothing() -> None:
    weighting, table = taught(), table_of()
    table[3, 1] = torch.inf
    weighting.at_epoch(end_of(0.3, table))
    assert weighting.state is None
    weighting.at_epoch(end_of(0.35))
    assert weighting.state is not None, "it is taught when it can be"


def test_the_losses_under_each_label_are_those_of_the_student() -> None:
    student, batch = student_of(), batch_of()
    table = losses_by_label(student, cross_entropy, [(batch.inputs, batch.labels)], C, Alone())
    expected = -F.log_softmax(student(batch.inputs), dim=1)
    torch.testing.assert_close(table[:, :-1], expected.double())
    assert table[:, -1].tolist() == batch.labels.tolist()


def test_a_curriculum_teaches_it_at_the_end_of_an_epoch() -> None:
    curriculum = curriculum_of(student_of(), weighting=taught((0.5,)), total_steps=4)
    curriculum.n_classes = C
    trusted = batch_of(12, seed=4)
    for step in range(4):
        record = curriculum.step(batch_of(seed=step))
        curriculum.end_epoch(step + 1, lambda: [(trusted.inputs, trusted.labels)])
        assert (curriculum.parts.at_epoch[0].state is None) == (step == 0)
    assert record.scored.std() > 0.01


def test_two_ranks_have_one_mentor_and_it_is_that_of_one_process() -> None:
    student, trusted = student_of(), batch_of(31, seed=5)

    def main(exchange: AbstractExchange) -> Tensor:
        cut = 31 if exchange.world_size == 1 else 16
        own = slice(0, cut) if exchange.rank == 0 else slice(cut, 31)
        batches = [(trusted.inputs[own], trusted.labels[own])]
        end = dataclasses.replace(
            end_of(0.3),
            labelled=lambda: losses_by_label(student, cross_entropy, batches, C, exchange),
            percentile=1.0,
            agreed=exchange.broadcast_floats,
        )
        weighting = taught()
        weighting.at_epoch(end)
        assert weighting.state is not None
        return weighting.state

    (alone,), (first, second) = on_ranks(1, main), on_ranks(2, main)
    assert torch.equal(first, second)
    torch.testing.assert_close(first, alone, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize(
    ("mentor", "points", "said"),
    [
        ({"mentor": "lstm", "history_length": 2}, (0.2,), "mentor is 'lstm', but one that is taught sees a sample's"),
        ({"mentor": "cmw"}, (0.2,), "mentor is 'cmw', but one that is taught sees a sample's loss by itself"),
        ({"mentor_features": ("loss", "history"), "history_length": 2}, (0.2,), "without its past; leave history out"),
        ({}, (), "taught_at is (), but the mentor of mentornet-dd is taught during training; give at least one point"),
    ],
)
def test_what_can_not_be_taught(mentor: dict[str, object], points: tuple[float, ...], said: str) -> None:
    config = MentorConfig(**mentor)  # type: ignore[arg-type]
    with pytest.raises(UserError) as refused:
        method_of("mentornet-dd").weighting(CurriculumConfig(method="mentornet-dd", taught_at=points), config, None)
    assert said in str(refused.value)


def test_points_outside_of_training() -> None:
    with pytest.raises(UserError, match=r"taught_at is \(0.2, 1.0\), but each must lie in \(0, 1\); e.g. 0.21 0.75"):
        CurriculumConfig(taught_at=(0.2, 1.0))
