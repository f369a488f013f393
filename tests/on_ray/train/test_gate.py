"""A run that waits at the end of each epoch for leave to go on."""

from __future__ import annotations

import sys
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

ray.cloudpickle.register_pickle_by_value(sys.modules[__name__])  # type: ignore[attr-defined]


class Asked(Gate):
    """A gate that knows when it was asked, by the epochs that whoever asked had behind it."""

    def __init__(self) -> None:
        super().__init__()
        self._moments: dict[int, list[float]] = {}

    def ask(self, epochs: int) -> Any:
        self._moments.setdefault(epochs, []).append(time.monotonic())
        return super().ask(epochs)

    def moments(self, epochs: int) -> list[float]:
        return self._moments.get(epochs, [])


class Run:
    """A run in a thread."""

    def __init__(self, fit: Callable[..., Outcome], gate: AnyGate) -> None:
        self.gate = gate
        self.rows: list[dict[str, Any]] = []
        self.epochs: list[dict[str, Any]] = []
        self.seen: list[float] = []
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
        self.rows.append(row)
        if row["kind"] == "epoch":
            self.epochs.append(row)
            self.seen.append(time.monotonic())

    def wait_for_epoch(self, epochs: int) -> None:
        wait_until(lambda: len(self.epochs) >= epochs or not self.thread.is_alive())
        assert self.error is None

    def assert_waits_after(self, epochs: int) -> None:
        """Whoever goes on asks once an epoch, and whoever waits, again and again."""
        self.wait_for_epoch(epochs)
        wait_until(lambda: len(call(self.gate, "moments", epochs)) >= 20 or not self.thread.is_alive())
        assert self.thread.is_alive(), "it went on without leave"
        assert len(self.epochs) == epochs

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
    run = Run(trainer_for(splits, storage, "gated", **arguments).fit, Asked())
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
            run.assert_waits_after(epochs)
            call(run.gate, "let_pass", epochs)
        run.end()
    assert run.outcome is not None
    assert_same_run(run.outcome, trainer_for(small_splits, tmp_path, "free").fit())


@pytest.mark.long
def test_waiting_is_not_training(small_splits: Splits, tmp_path: Path) -> None:
    held = 3.0
    with running(small_splits, tmp_path) as run:
        run.wait_for_epoch(1)
        wait_until(lambda: bool(call(run.gate, "moments", 1)))
        time.sleep(held)
        call(run.gate, "let_pass", 1)
        run.wait_for_epoch(2)
        run.end()
    trained = run.epochs[1]["train_seconds"] - run.epochs[0]["train_seconds"]
    assert trained <= run.seen[1] - run.seen[0] - held / 2, "however slow the machine is"


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
    """However long: four times as long as a sign of life may take, they took one another for dead."""
    gate: Any = ray.remote(Asked).options(num_cpus=0).remote()
    hang_seconds = 5.0
    fit = trainer_for(
        small_splits,
        tmp_path,
        "gated",
        workers=2,
        checkpoint_steps=0,
        checkpoint_seconds=1e6,
        hang_seconds=hang_seconds,
    ).fit
    run = Run(fit, gate)
    try:
        run.wait_for_epoch(1)
        time.sleep(5 * hang_seconds)
        run.assert_waits_after(1)
        number = call(gate, "wish_save")
        wait_until(lambda: call(gate, "saves") >= number)
        assert checkpoints(tmp_path) == [f"step-{STEPS // EPOCHS:012d}.pt"]
        call(gate, "let_pass", 1)
        run.wait_for_epoch(2)
    finally:
        call(gate, "stop")
        run.thread.join(A_LONG_TIME)
    assert isinstance(run.error, RunStoppedError)
    assert [row["kind"] for row in run.rows].count("started") == 1
    assert [row for row in run.rows if row["kind"] == "note"] == [], "a worker was taken for dead"
