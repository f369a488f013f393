"""A few of the random runs of chaos.py; ``make chaos`` does twenty."""

from __future__ import annotations

from pathlib import Path

import pytest
from chaos import chaotic_run, check, plan

from ray_mentor.run.outcome import Outcome

SEEDS = (2, 4, 8, 9)


@pytest.mark.slow
@pytest.mark.usefixtures("local_ray")
@pytest.mark.parametrize("seed", SEEDS)
def test_a_run_in_which_processes_are_killed_at_random(seed: int, undisturbed: Outcome, tmp_path: Path) -> None:
    run, befell = chaotic_run(seed, tmp_path)
    assert befell, plan(seed)
    check(run, undisturbed)


def test_every_kind_of_process_is_killed() -> None:
    assert {one.victim for seed in SEEDS for one in plan(seed)} == {"RayTrainWorker", "MentorActor", "driver"}
