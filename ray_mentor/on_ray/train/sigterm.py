"""SIGTERM while a run goes on: as `ray job stop`, Slurm before a job's end, and whoever evicts a pod send it."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import ray
import ray.exceptions
from ray.actor import ActorHandle

from ray_mentor.on_ray.session.internals import WorkerCallback
from ray_mentor.on_ray.train.run_board import RunBoard

GRACE = 20.0  # seconds that a checkpoint may take from SIGTERM on; whoever sends it waits half a minute, as a rule


class SavesFirst:
    """SIGTERM to this process waits for a checkpoint, ``seconds`` at most, and then does what it did before.

    A second one does not wait.

    Args:
        asked: called when it has come, in the main thread.

    Attributes:
        came: whether one waits.
    """

    def __init__(self, asked: Callable[[], None] = lambda: None, seconds: float = GRACE) -> None:
        self.came = False
        self._asked = asked
        self._seconds = seconds
        self._before: Any = None
        self._timer: threading.Timer | None = None

    def install(self) -> None:
        """In the main thread; elsewhere, and where SIGTERM does nothing that Python knows of, all stays as it is."""
        if threading.current_thread() is not threading.main_thread():
            return
        before = signal.getsignal(signal.SIGTERM)
        if before not in (None, signal.SIG_IGN):
            self._before = before
            signal.signal(signal.SIGTERM, self._come)

    @contextmanager
    def installed(self) -> Iterator[None]:
        """Inside; one that still waits at the end does not any longer."""
        self.install()
        try:
            yield
        finally:
            if threading.current_thread() is threading.main_thread():
                if signal.getsignal(signal.SIGTERM) == self._come:
                    signal.signal(signal.SIGTERM, self._before)
                self.go_on()

    def go_on(self) -> None:
        """The checkpoint is written, or will not be: SIGTERM does what it did before, if one waits."""
        if self._timer is not None:
            self._timer.cancel()
        if self.came:
            self.came = False
            os.kill(os.getpid(), signal.SIGTERM)

    def _come(self, *_: object) -> None:
        signal.signal(signal.SIGTERM, self._before)
        self.came = True
        self._timer = threading.Timer(self._seconds, self.go_on)
        self._timer.daemon = True
        self._timer.start()
        self._asked()


HERE = SavesFirst()
"""Of the process that trains: this one, or a worker's."""


class WorkersSaveFirst(WorkerCallback):
    """Ray Train runs it in each worker's main thread, where alone a process can be told what signals mean."""

    def after_init_train_context(self) -> None:
        HERE.install()


def workers_save_first(board: ActorHandle[RunBoard]) -> AbstractContextManager[None]:
    """Inside, SIGTERM to this process, the driver, waits for a checkpoint of the workers."""

    def ask() -> None:
        try:
            if ray.get(board.wish.remote()):
                while ray.get(board.is_wished.remote()):
                    time.sleep(_POLL)
        except ray.exceptions.RayActorError:
            pass
        driver.go_on()

    driver = SavesFirst(ask)
    return driver.installed()


_POLL = 0.05  # seconds
