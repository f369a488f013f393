"""SIGTERM and Ctrl-C while a run goes on: what they end waits for a checkpoint.

SIGTERM is what `ray job stop`, Slurm before a job's end, and whoever evicts a pod send.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any, Self

import ray
import ray.exceptions
from ray.actor import ActorHandle

from ray_mentor.on_ray.session.internals.of_train import WorkerCallback
from ray_mentor.on_ray.train.run_board import RunBoard

GRACE = 20.0  # seconds that a checkpoint may take from SIGTERM on; whoever sends it waits half a minute, as a rule


class SavesFirst:
    """A signal to this process waits for a checkpoint, ``seconds`` at most, and then does what it did before.

    A second one does not wait.

    Args:
        asked: called when one has come, in the main thread.

    Attributes:
        came: whether one waits.
    """

    def __init__(self, asked: Callable[[], None] = lambda: None, seconds: float = GRACE) -> None:
        self.came = False
        self._asked = asked
        self._seconds = seconds
        self._before: dict[int, Any] = {}
        self._number = 0
        self._timer: threading.Timer | None = None

    def install(self, *numbers: int) -> None:
        """In the main thread; elsewhere, and where a signal does nothing that Python knows of, all stays as it is."""
        if threading.current_thread() is not threading.main_thread():
            return
        for number in numbers:
            before = signal.getsignal(number)
            if before not in (None, signal.SIG_IGN):
                self._before[number] = before
                signal.signal(number, self._come)

    @contextmanager
    def installed(self, *numbers: int) -> Iterator[Self]:
        """Inside; one that still waits at the end does not any longer."""
        self.install(*numbers)
        try:
            yield self
        finally:
            if threading.current_thread() is threading.main_thread():
                self._put_back()
                self.go_on()

    def go_on(self) -> None:
        """The checkpoint is written, or will not be: the signal does what it did before, if one waits."""
        if self._timer is not None:
            self._timer.cancel()
        if self.came:
            self.came = False
            os.kill(os.getpid(), self._number)

    def _come(self, number: int, _: object) -> None:
        self._put_back()
        self.came, self._number = True, number
        if number == signal.SIGINT:
            os.write(_STDERR, _SAYS)  # a handler must not meet a print
        self._timer = threading.Timer(self._seconds, self.go_on)
        self._timer.daemon = True
        self._timer.start()
        self._asked()

    def _put_back(self) -> None:
        for number, before in self._before.items():
            if signal.getsignal(number) == self._come:
                signal.signal(number, before)
        self._before = {}


_STDERR = 2
_SAYS = b"\nstopping as soon as a checkpoint is written; Ctrl-C again: at once\n"


HERE = SavesFirst()
"""Of the process that trains: this one, or a worker's."""


class WorkersSaveFirst(WorkerCallback):
    """Ray Train runs it in each worker's main thread, where alone a process can be told what signals mean."""

    def after_init_train_context(self) -> None:
        HERE.install(signal.SIGTERM)


def workers_save_first(board: ActorHandle[RunBoard]) -> AbstractContextManager[SavesFirst]:
    """Inside, SIGTERM to this process, the driver, waits for a checkpoint of the workers.

    So does Ctrl-C, once Ray Train has put its own handler of it in place, and this is put before that
    (:class:`~ray_mentor.on_ray.session.internals.of_trainer.StoppableTrainer`).
    """

    def ask() -> None:
        try:
            if ray.get(board.wish.remote()):
                while driver.came and ray.get(board.is_wished.remote()):
                    time.sleep(_POLL)
        except ray.exceptions.RayActorError:
            pass
        driver.go_on()

    driver = SavesFirst(ask)
    return driver.installed(signal.SIGTERM)


_POLL = 0.05  # seconds
