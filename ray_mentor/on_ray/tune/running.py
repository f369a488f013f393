"""A run in a thread of a trial's process, an epoch at a time."""

from __future__ import annotations

import queue
import re
import resource
import sys
import threading
from pathlib import Path

import ray
import torch

from ray_mentor.errors import RunStoppedError
from ray_mentor.on_ray.train.gate import AnyGate, Gate, call, gate_here
from ray_mentor.on_ray.train.trainer import CurriculumTrainer
from ray_mentor.run.outcome import Outcome
from ray_mentor.run.progress import Row


class Running:
    """A run that goes on by an epoch when it is asked to.

    Args:
        on_ray: it has workers of its own, which can ask an actor alone.
    """

    def __init__(self, trainer: CurriculumTrainer, *, on_ray: bool) -> None:
        self._gate: AnyGate = gate_here() if on_ray else Gate()
        self._rows: queue.SimpleQueue[Row] = queue.SimpleQueue()
        self._epochs = 0
        self._outcome: Outcome | None = None
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, args=(trainer,), name="run", daemon=True)
        self._thread.start()

    def next_epoch(self) -> Row:
        """Lets the run pass where it waits, and waits for the end of its next epoch."""
        call(self._gate, "let_pass", self._epochs)
        row = self._rows.get()
        if not row:
            row = dict(self.finish().metrics[-1])  # taken up again when all was done
        self._epochs = int(row["epoch"]) + 1
        return row

    def finish(self) -> Outcome:
        """The outcome of a run whose epochs are done; raises the error of one that failed."""
        call(self._gate, "let_pass", self._epochs)
        self._thread.join()
        if self._error is not None:
            raise self._error
        assert self._outcome is not None
        return self._outcome

    def save(self) -> None:
        """Has a run that waits write a checkpoint; one that has ended has written its last."""
        number = call(self._gate, "wish_save")
        while self._thread.is_alive() and call(self._gate, "saves") < number:
            self._thread.join(0.01)

    def stop(self) -> None:
        """Ends it at the end of its epoch."""
        call(self._gate, "stop")
        self._thread.join()
        if not isinstance(self._gate, Gate):
            ray.kill(self._gate)

    def _run(self, trainer: CurriculumTrainer) -> None:
        try:
            self._outcome = trainer.fit(self._take, self._gate)
        except RunStoppedError:
            pass
        except BaseException as error:
            self._error = error
        finally:
            self._rows.put({})

    def _take(self, row: Row) -> None:
        if row["kind"] == "epoch":
            self._rows.put(row)


def peak_memory_mb() -> float:
    """The most memory that this process has held so far, in 10^6 bytes: on a GPU, where it has used one, else resident.

    Of all that the process ever did: a run's own only where the process has done nothing else.
    """
    if torch.cuda.is_available() and torch.cuda.max_memory_allocated() > 0:
        return torch.cuda.max_memory_allocated() / 1e6
    status = Path("/proc/self/status")
    if status.exists():  # getrusage counts what lay there before the program was loaded, too
        found = re.search(r"VmHWM:\s+(\d+) kB", status.read_text())
        if found is not None:
            return int(found[1]) * 1024 / 1e6
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024) / 1e6
