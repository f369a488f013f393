"""A process that was thought dead and wakes up, at any moment, after another has taken up its run: it adds nothing."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from driver import Driver
from small_runs import assert_one_row_per_sample_and_epoch, assert_same_run, outcome_of, trainer_for

from ray_mentor.data import Splits
from ray_mentor.run.outcome import Outcome


@pytest.fixture(scope="module")
def whole(small_splits: Splits, tmp_path_factory: pytest.TempPathFactory) -> Outcome:
    return trainer_for(small_splits, tmp_path_factory.mktemp("whole"), "run").fit()


def files_of(path: Path) -> dict[str, bytes]:
    return {str(file.relative_to(path)): file.read_bytes() for file in path.rglob("*") if file.is_file()}


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
def test_a_driver_that_was_stopped_while_another_finished_its_run(
    drive: Any, whole: Outcome, small_splits: Splits
) -> None:
    """As when a laptop sleeps, a job is suspended, or a node is cut off and comes back."""
    first = drive(checkpoint_steps=9, slow=0.1)
    first.wait_for_step(9)
    first.process.send_signal(signal.SIGSTOP)
    assert drive(checkpoint_steps=3).wait() == 0
    before = files_of(first.run)
    first.process.send_signal(signal.SIGCONT)
    assert first.wait() != 0
    assert f"another process has taken up the run {first.run}; this one stops" in first.log.read_text()
    assert files_of(first.run) == before
    assert_same_run(outcome_of(first.run), whole)
    assert_one_row_per_sample_and_epoch(outcome_of(first.run).ledger(), small_splits)
