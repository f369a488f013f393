"""A process that drives a small run, for tests that kill it: ``python driver.py STORAGE NAME [ARGUMENTS]``.

Goes on with the run if it is there already. ARGUMENTS is a JSON object: the trainer's, and ``slow``, seconds a step,
and ``mixed``, whether samples come from several sources.
Where RAY_ADDRESS is set, the run uses that Ray; otherwise one of its own.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import accidents
import psutil
import ray
import torch
from interruptible import interruptible
from mixed_runs import mixed_trainer
from small_runs import make_small_splits, trainer_for

ray.cloudpickle.register_pickle_by_value(accidents)  # type: ignore[attr-defined]


A_LONG_TIME = 400.0  # seconds: a start takes 20, and minutes on a machine that has much else to do


def main(storage: str, name: str, arguments: str = "{}") -> None:
    torch.set_num_threads(1)
    given: dict[str, Any] = {"resume": (Path(storage) / name / "config.toml").exists(), **json.loads(arguments)}
    slow = given.pop("slow", 0.0)
    given["optimizer"] = accidents.Slow(slow)
    if given.pop("mixed", False):
        trainer = mixed_trainer(Path(storage), name, **{"epochs": 3, **given})
    else:
        trainer = trainer_for(make_small_splits(), Path(storage), name, **given)
    trainer.fit(lambda row: print(json.dumps(row), flush=True))


class Driver:
    """A driver's process, from the side of the test."""

    def __init__(self, storage: Path, name: str, environment: dict[str, str] | None = None, **arguments: Any) -> None:
        self.run = storage / name
        self._family: list[psutil.Process] = []
        self.log = storage / f"{name}-{time.monotonic_ns()}.log"
        with self.log.open("w") as log, interruptible():
            self.process = subprocess.Popen(
                [sys.executable, __file__, str(storage), name, json.dumps(arguments)],
                stdout=log,
                stderr=subprocess.STDOUT,
                env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path)), **(environment or {})},
                start_new_session=True,
            )

    def wait_for_step(self, step: int, seconds: float = A_LONG_TIME) -> None:
        """Until there is a checkpoint of this step, or a later one."""
        deadline = time.monotonic() + seconds
        while not any(int(file.stem.split("-")[1]) >= step for file in (self.run / "checkpoints").glob("step-*.pt")):
            assert self.process.poll() is None, self.log.read_text()
            assert time.monotonic() < deadline, self.log.read_text()
            time.sleep(0.02)

    def wait(self, seconds: float = A_LONG_TIME) -> int:
        """Its exit code."""
        return self.process.wait(timeout=seconds)

    def family(self) -> list[psutil.Process]:
        """The driver and all processes that come from it."""
        parent = psutil.Process(self.process.pid)
        self._family = [parent, *parent.children(recursive=True)]
        return self._family

    def rows(self, kind: str) -> list[dict[str, Any]]:
        """The progress rows of this kind that it has printed."""
        return [row for row in rows_of(self.log) if row["kind"] == kind]

    def end(self) -> None:
        """For the end of a test: nothing of it is left, whatever happened."""
        if self.process.poll() is None:
            self.family()
        for process in self._family:
            kill(process)
        self.process.wait(timeout=30)


def rows_of(log: Path) -> list[dict[str, Any]]:
    """All progress rows that a driver has printed."""
    return [json.loads(line) for line in log.read_text().splitlines() if line.startswith('{"kind"')]


def kill(process: psutil.Process, number: int = signal.SIGKILL) -> None:
    """Sends a signal to a process that may be gone."""
    with contextlib.suppress(psutil.NoSuchProcess):
        process.send_signal(number)


def all_gone(processes: list[psutil.Process], seconds: float = 60) -> bool:
    """Whether they end within so many seconds."""
    return not psutil.wait_procs(processes, timeout=seconds)[1]


if __name__ == "__main__":
    main(*sys.argv[1:])
