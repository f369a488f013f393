"""SIGTERM to a run: it writes a checkpoint, though none is due for a minute, and ends as SIGTERM ends it."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from driver import A_LONG_TIME, Driver, all_gone
from small_runs import STEPS, assert_same_run, outcome_of, trainer_for

from ray_mentor.data import Splits
from ray_mentor.on_ray.train.sigterm import GRACE
from ray_mentor.run.outcome import Outcome


@pytest.fixture
def drive(tmp_path: Path) -> Iterator[Any]:
    """Starts drivers of one run, which writes no checkpoint of its own accord; none outlives the test."""
    drivers: list[Driver] = []

    def start(**arguments: Any) -> Driver:
        drivers.append(Driver(tmp_path, "run", checkpoint_steps=0, **arguments))
        return drivers[-1]

    yield start
    for driver in drivers:
        driver.end()


def wait_for_a_step(driver: Driver) -> None:
    """Until it has told of one, as it does once a second."""
    deadline = time.monotonic() + A_LONG_TIME
    while not driver.rows("step"):
        assert driver.process.poll() is None, driver.log.read_text()
        assert time.monotonic() < deadline, driver.log.read_text()
        time.sleep(0.05)


def saved(driver: Driver) -> list[int]:
    return [int(file.stem.split("-")[1]) for file in (driver.run / "checkpoints").glob("step-*.pt")]


@pytest.mark.slow
def test_a_run_in_one_process(drive: Any, small_splits: Splits, tmp_path: Path) -> None:
    driver = drive(slow=0.3)
    wait_for_a_step(driver)
    driver.process.send_signal(signal.SIGTERM)
    assert driver.wait() == -signal.SIGTERM
    (step,) = saved(driver)
    assert 0 < step < STEPS
    assert not (driver.run / "result.json").exists()
    last = drive()
    assert last.wait() == 0, last.log.read_text()
    assert last.rows("started")[0]["progress"] == step / STEPS
    assert_same_run(outcome_of(last.run), trainer_for(small_splits, tmp_path, "whole", checkpoint_steps=0).fit())


@pytest.mark.slow
def test_two_workers(drive: Any, undisturbed: Outcome) -> None:
    """Of their driver; then of rank 1, after which all go on from there."""
    driver = drive(workers=2, slow=0.3)
    wait_for_a_step(driver)
    family = driver.family()
    agents = {process.pid for process in family if "Agent" in " ".join(process.cmdline())}  # Ray leaves them behind
    began = time.monotonic()
    driver.process.send_signal(signal.SIGTERM)
    assert driver.wait() != 0
    assert time.monotonic() - began < GRACE, "it was saved, and did not have to wait"
    assert all_gone([process for process in family if process.pid not in agents])
    (step,) = saved(driver)
    assert 0 < step < STEPS

    driver = drive(workers=2, slow=0.3)
    wait_for_a_step(driver)
    workers = [process for process in driver.family() if is_a_worker(process)]
    assert len(workers) == 2, [" ".join(process.cmdline()) for process in driver.family()]
    workers[1].send_signal(signal.SIGTERM)
    assert driver.wait() == 0, driver.log.read_text()
    first, second = (row["progress"] for row in driver.rows("started"))
    assert first == step / STEPS
    assert second > first, "there was a checkpoint"
    assert_same_run(outcome_of(driver.run), undisturbed)


def is_a_worker(process: psutil.Process) -> bool:
    return "RayTrainWorker" in " ".join(process.cmdline())
