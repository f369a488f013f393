"""Checkpoints of a run: through Ray Train, or in the run directory where the run is a single process."""

from __future__ import annotations

import tempfile
import time
from abc import ABC, abstractmethod
from pathlib import Path

import ray.train

from ray_mentor.core.exchange import AbstractExchange
from ray_mentor.core.state import RunState
from ray_mentor.data.run_directory import RunDirectory

FILE = "state.pt"


class AbstractCheckpoints(ABC):
    """Where a run's states go, and come back from."""

    @abstractmethod
    def newest(self) -> RunState | None:
        """The newest state of this run; None if there is none."""

    @abstractmethod
    def add(self, state: RunState) -> None:
        """Takes a state. Every rank calls this; rank 0's state is the run's."""


class TrainCheckpoints(AbstractCheckpoints):
    """Ray Train's own checkpoints: it uploads them, keeps the newest, and hands them to restarted workers."""

    def __init__(self, rank: int) -> None:
        self._rank = rank

    def newest(self) -> RunState | None:
        checkpoint = ray.train.get_checkpoint()
        if checkpoint is None:
            return None
        with checkpoint.as_directory() as folder:
            return RunState.from_bytes((Path(folder) / FILE).read_bytes(), f"{checkpoint.path}/{FILE}")

    def add(self, state: RunState) -> None:
        metrics = {"epoch": state.epoch, "step": state.curriculum.step}
        if self._rank:
            ray.train.report(metrics)
            return
        with tempfile.TemporaryDirectory() as folder:
            (Path(folder) / FILE).write_bytes(state.to_bytes())
            ray.train.report(metrics, checkpoint=ray.train.Checkpoint.from_directory(folder))


class FolderCheckpoints(AbstractCheckpoints):
    """One file in the run directory: Ray Train's local mode keeps no checkpoint beyond the process."""

    def __init__(self, directory: RunDirectory) -> None:
        self._directory = directory

    def newest(self) -> RunState | None:
        data = self._directory.read(FILE)
        return None if data is None else RunState.from_bytes(data, f"{self._directory.path}/{FILE}")

    def add(self, state: RunState) -> None:
        self._directory.write(FILE, state.to_bytes())


class Clock:
    """When the next checkpoint is due: rank 0's watch, for all."""

    def __init__(self, seconds: float, exchange: AbstractExchange) -> None:
        self._seconds = seconds
        self._exchange = exchange
        self._last = time.monotonic()

    def due(self) -> bool:
        """Whether ``seconds`` have passed since this last said so. A collective call."""
        due = bool(self._exchange.broadcast(time.monotonic() - self._last >= self._seconds))
        if due:
            self._last = time.monotonic()
        return due
