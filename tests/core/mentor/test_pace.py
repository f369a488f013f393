"""How often a mentor learns, and how fast, by the steps that it has."""

from __future__ import annotations

import pytest
from own_loop import blobs, momentum, noisy, per_sample, student

from ray_mentor import LearnedCurriculum
from ray_mentor.config import MentorConfig, TrainConfig
from ray_mentor.core.mentor.pace import interval_of, paced, rate_of
from ray_mentor.run.job import settled


@pytest.mark.parametrize(
    ("steps", "interval"), [(0, 1), (60, 1), (99.9, 1), (100, 2), (560, 11), (1_000, 20), (1e6, 20)]
)
def test_some_fifty_updates_and_no_fewer_than_one_in_twenty_steps(steps: float, interval: int) -> None:
    assert interval_of(MentorConfig(), steps) == interval


@pytest.mark.parametrize(("steps", "rate"), [(0, 0.01), (65, 0.01), (130, 0.005), (1_000, 0.00065), (1e6, 0.0006)])
def test_a_mentor_gets_as_far_in_a_shorter_run(steps: float, rate: float) -> None:
    assert rate_of(MentorConfig(), steps) == pytest.approx(rate)


def test_what_is_given_stays() -> None:
    given = MentorConfig(update_interval=7, mentor_learning_rate=0.1)
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
    assert settled(config, 1_000).mentor == paced(config.mentor, 500)
