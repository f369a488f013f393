"""Whole runs that are stopped or killed, and go on with --resume as if nothing had happened, bit for bit."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from driver import Driver, all_gone, kill
from small_runs import assert_one_row_per_sample_and_epoch, assert_same_run, outcome_of, trainer_for

from ray_mentor.data import Splits
from ray_mentor.run.outcome import Outcome


@pytest.fixture
def drive(tmp_path: Path) -> Iterator[Any]:
    """Starts drivers of one run; none outlives the test."""
    drivers: list[Driver] = []

    def start(**arguments: Any) -> Driver:
        drivers.append(Driver(tmp_path, "run", **arguments))
        return drivers[-1]

    yield start
    for driver in drivers:
        driver.end()


@pytest.mark.slow
def test_a_run_in_one_process_that_is_stopped_again_and_again(drive: Any, small_splits: Splits, tmp_path: Path) -> None:
    whole = trainer_for(small_splits, tmp_path, "whole").fit()
    for step, number in ((2, signal.SIGINT), (7, signal.SIGTERM), (13, signal.SIGKILL)):
        driver = drive(checkpoint_steps=1, slow=0.1)
        driver.wait_for_step(step)
        driver.process.send_signal(number)
        assert driver.wait() != 0
        assert not (driver.run / "result.json").exists()
    assert drive(checkpoint_steps=1).wait() == 0
    assert_same_run(outcome_of(driver.run), whole)
    assert_one_row_per_sample_and_epoch(outcome_of(driver.run).ledger(), small_splits)


@pytest.mark.slow
@pytest.mark.ray
def test_two_workers_whose_driver_is_stopped_or_killed(drive: Any, undisturbed: Outcome, small_splits: Splits) -> None:
    """SIGTERM, then SIGKILL: its workers end with it. Then SIGKILL of every process, as a power cut would."""
    for step, what in ((2, "stop"), (8, "kill"), (14, "power cut")):
        driver = drive(workers=2, checkpoint_steps=1, slow=0.2)
        driver.wait_for_step(step)
        family = driver.family()
        agents = {process.pid for process in family if "Agent" in " ".join(process.cmdline())}  # Ray leaves them behind
        if what == "power cut":
            for process in family:
                kill(process)
        else:
            driver.process.send_signal(signal.SIGTERM if what == "stop" else signal.SIGKILL)
        assert driver.wait() != 0
        assert all_gone([process for process in family if process.pid not in agents]), what
        assert not (driver.run / "result.json").exists()
    last = drive(workers=2, checkpoint_steps=1)
    assert last.wait() == 0, last.log.read_text()
    (started,) = last.rows("started")
    assert started["progress"] >= 14 / 20
    assert_same_run(outcome_of(last.run), undisturbed)
    assert_one_row_per_sample_and_epoch(outcome_of(last.run).ledger(), small_splits)
