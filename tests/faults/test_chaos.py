"""A few of the random runs of chaos.py; ``make chaos`` does twenty."""

from __future__ import annotations

from pathlib import Path

import pytest
from chaos import calm, chaotic_run, check, falls_asleep, is_mixed, plan
from small_runs import outcome_of

from ray_mentor.run.outcome import Outcome

SEEDS = (2, 4, 8, 9)


@pytest.mark.slow
@pytest.mark.usefixtures("local_ray")
@pytest.mark.parametrize("seed", SEEDS)
def test_a_run_in_which_processes_are_killed_at_random(seed: int, undisturbed: Outcome, tmp_path: Path) -> None:
    run, befell = chaotic_run(seed, tmp_path)
    assert befell, plan(seed)
    check(run, outcome_of(calm(tmp_path, "calm", mixed=True)) if is_mixed(seed) else undisturbed)


@pytest.mark.slow
@pytest.mark.usefixtures("local_ray")
def test_a_run_that_sleeps_while_another_finishes_it(undisturbed: Outcome, tmp_path: Path) -> None:
    """Two workers, mentor and driver; in test_thought_dead.py a run in one process."""
    run, befell = chaotic_run(ASLEEP, tmp_path)
    assert falls_asleep(ASLEEP)
    assert befell[-1].startswith("all asleep"), befell
    check(run, undisturbed)


ASLEEP = 15


def test_every_kind_of_process_is_killed() -> None:
    assert {one.victim for seed in SEEDS for one in plan(seed)} == {"RayTrainWorker", "MentorActor", "driver"}


def test_a_run_of_several_sources_is_among_them() -> None:
    assert any(map(is_mixed, SEEDS))
    assert not is_mixed(ASLEEP)
