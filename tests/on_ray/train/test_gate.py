"""A run that waits at the end of each epoch for leave to go on."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import ray
from driver import A_LONG_TIME
from small_runs import EPOCHS, STEPS, assert_same_run, names_in, trainer_for

from ray_mentor.data import Splits
from ray_mentor.errors import RunStoppedError
from ray_mentor.on_ray.train.gate import AnyGate, Gate, call
from ray_mentor.run.outcome import Outcome


class Run:
    """A run in a thread."""

    def __init__(self, fit: Callable[..., Outcome], gate: AnyGate) -> None:
        self.gate = gate
        self.epochs: list[dict[str, Any]] = []
        self.outcome: Outcome | None = None
        self.error: BaseException | None = None
        self.thread = threading.Thread(target=self._run, args=(fit,))
        self.thread.start()

    def _run(self, fit: Callable[..., Outcome]) -> None:
        try:
            self.outcome = fit(self._show, self.gate)
        except BaseException as error:
            self.error = error

    def _show(self, row: dict[str, Any]) -> None:
        if row["kind"] == "epoch":
            self.epochs.append(row)

    def wait_for_epoch(self, epochs: int) -> None:
        wait_until(lambda: len(self.epochs) >= epochs or not self.thread.is_alive())
        assert self.error is None

    def end(self) -> None:
        call(self.gate, "let_pass", EPOCHS)
        self.thread.join(A_LONG_TIME)
        assert not self.thread.is_alive()


def wait_until(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + A_LONG_TIME
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.005)


@contextmanager
def running(splits: Splits, storage: Path, **arguments: Any) -> Iterator[Run]:
    run = Run(trainer_for(splits, storage, "gated", **arguments).fit, Gate())
    try:
        yield run
    finally:
        call(run.gate, "stop")
        run.thread.join(A_LONG_TIME)


def checkpoints(storage: Path) -> list[str]:
    return sorted(names_in(storage / "gated" / "checkpoints"))


def test_a_run_waits_at_each_epoch_and_ends_as_one_that_did_not(small_splits: Splits, tmp_path: Path) -> None:
    with running(small_splits, tmp_path) as run:
        for epochs in range(1, EPOCHS + 1):
            run.wait_for_epoch(epochs)
            time.sleep(0.1)
            assert len(run.epochs) == epochs, "it went on without leave"
            call(run.gate, "let_pass", epochs)
        run.end()
    assert run.outcome is not None
    assert_same_run(run.outcome, trainer_for(small_splits, tmp_path, "free").fit())


def test_waiting_is_not_training(small_splits: Splits, tmp_path: Path) -> None:
    with running(small_splits, tmp_path) as run:
        run.wait_for_epoch(1)
        time.sleep(3.0)
        run.end()
    assert run.outcome is not None
    assert run.outcome.result["train_seconds"] < 3.0
    assert run.outcome.result["wall_seconds"] > 3.0


def test_a_wished_checkpoint_is_that_of_the_epochs_end(small_splits: Splits, tmp_path: Path) -> None:
    with running(small_splits, tmp_path, checkpoint_steps=0, checkpoint_seconds=1e6) as run:
        run.wait_for_epoch(1)
        call(run.gate, "let_pass", 1)
        run.wait_for_epoch(2)
        assert checkpoints(tmp_path) == []
        number = call(run.gate, "wish_save")
        wait_until(lambda: call(run.gate, "saves") >= number)
        assert checkpoints(tmp_path) == [f"step-{STEPS // EPOCHS * len(run.epochs):012d}.pt"]
        assert run.thread.is_alive()


def test_a_stopped_run_is_no_finished_one_and_goes_on_bit_for_bit(small_splits: Splits, tmp_path: Path) -> None:
    with running(small_splits, tmp_path) as run:
        run.wait_for_epoch(1)
        call(run.gate, "stop")
        run.thread.join(A_LONG_TIME)
    assert isinstance(run.error, RunStoppedError)
    assert len(run.epochs) == 1
    assert not (tmp_path / "gated" / "result.json").exists()
    resumed = trainer_for(small_splits, tmp_path, "gated", resume=True).fit()
    assert_same_run(resumed, trainer_for(small_splits, tmp_path, "free").fit())


@pytest.mark.slow
@pytest.mark.usefixtures("local_ray")
def test_two_workers_wait_at_an_actor_save_and_stop(small_splits: Splits, tmp_path: Path) -> None:
    gate: Any = ray.remote(Gate).options(num_cpus=0).remote()
    fit = trainer_for(small_splits, tmp_path, "gated", workers=2, checkpoint_steps=0, checkpoint_seconds=1e6).fit
    run = Run(fit, gate)
    try:
        run.wait_for_epoch(1)
        time.sleep(1.0)
        assert len(run.epochs) == 1, "it went on without leave"
        number = call(gate, "wish_save")
        wait_until(lambda: call(gate, "saves") >= number)
        assert checkpoints(tmp_path) == [f"step-{STEPS // EPOCHS:012d}.pt"]
        call(gate, "let_pass", 1)
        run.wait_for_epoch(2)
    finally:
        call(gate, "stop")
        run.thread.join(A_LONG_TIME)
    assert isinstance(run.error, RunStoppedError)
