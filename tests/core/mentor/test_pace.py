"""How often a mentor learns, and how fast, by the steps that it has."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from own_loop import blobs, momentum, noisy, per_sample, student
from torch import Tensor

from ray_mentor import LearnedCurriculum
from ray_mentor.config import MentorConfig, TrainConfig
from ray_mentor.core.mentor.learner import MentorLearner, MetaUpdate
from ray_mentor.core.mentor.pace import interval_of, paced, rate_of
from ray_mentor.core.plain_load import load_plain
from ray_mentor.core.step.features import Features
from ray_mentor.run.job import settled


@pytest.mark.parametrize(
    ("steps", "interval"), [(0, 1), (60, 1), (99.9, 1), (100, 2), (560, 11), (1_000, 20), (1e6, 20)]
)
def test_some_fifty_updates_and_no_fewer_than_one_in_twenty_steps(steps: float, interval: int) -> None:
    assert interval_of(MentorConfig(), steps) == interval


@pytest.mark.parametrize(("steps", "rate"), [(1, 0.01), (30, 0.01), (60, 0.005), (500, 0.0006), (10**6, 0.0006)])
def test_a_mentor_learns_fast_at_first(steps: int, rate: float) -> None:
    assert rate_of(MentorConfig(update_interval=1), steps) == pytest.approx(rate)
    assert rate_of(MentorConfig(update_interval=20), steps) == pytest.approx(min(rate, 0.0015))
    assert rate_of(MentorConfig(update_interval=100), steps) == pytest.approx(0.0006)
    assert rate_of(MentorConfig(mentor_learning_rate=0.02), steps) == 0.02


def params_of(learner: MentorLearner) -> Tensor:
    state = load_plain(learner.state().payload)["mentor"]
    return torch.cat([value.flatten() for value in state.values()])


def test_adams_rate_is_that_of_the_update_at_hand() -> None:
    """Of one sign all along, a gradient is scaled away by Adam: each update moves by its rate, rate_of · interval."""
    config = MentorConfig(update_interval=5, entropy=0.0, anchor=0.0, mentor_features=("loss",), mentor_hidden=())
    learner, moved = MentorLearner(config, n_classes=2, seed=0), []
    loss = torch.tensor([0.1, 2.0, 0.4, 1.0])
    features = Features(loss, loss - 1, torch.zeros(4, dtype=torch.long), torch.zeros(4), torch.zeros(4, 0))
    for update in range(20):
        before = params_of(learner)
        learner.learn(MetaUpdate(update, features, torch.tensor([-1.0, 1.0, -1.0, 1.0]), torch.ones(4).bool()))
        moved.append(float((params_of(learner) - before).abs().max()))
    assert moved == pytest.approx(
        [5 * rate_of(config, 5 * (update + 1)) for update in range(20)], rel=0.15
    )  # Adam remembers larger gradients
    assert moved[0] > 1.5 * moved[-1]


def test_what_is_given_stays() -> None:
    given = MentorConfig(update_interval=7)
    assert paced(given, 100) == given


def test_an_update_is_not_cut_off_by_the_next() -> None:
    looks_ahead = MentorConfig(estimator="unrolled", unroll_steps=4)
    assert [interval_of(looks_ahead, steps) for steps in (10, 300, 1e4)] == [4, 6, 20]


def test_a_loop_of_ones_own_has_as_many() -> None:
    model = student()
    optimizer = momentum(model)
    loop = LearnedCurriculum(model, optimizer, blobs(16, 1), total_steps=120)
    due = []
    for inputs, labels, _ in noisy(120):
        due.append(loop.curriculum.meta_is_due)
        optimizer.zero_grad()
        loop.weigh(per_sample(model(inputs), labels), labels=labels).backward()
        optimizer.step()
        loop.after_step()
    assert [step for step, is_due in enumerate(due) if is_due] == list(range(18, 120, 2)), "102 steps after burn-in"


def test_a_run_counts_the_steps_after_burn_in() -> None:
    config = TrainConfig().changed(epochs=10, burn_in=0.5)
    expected = paced(dataclasses.replace(config.mentor, class_evidence=1.0), 500)  # the other that goes by the run
    assert settled(config, 1_000).mentor == expected
