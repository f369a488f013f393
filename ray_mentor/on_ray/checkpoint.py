"""Checkpoints of a run: files in its directory, the same whether it is one process or many on Ray.

A checkpoint at step s stands for everything before s: the ledger rows of all ranks are written before it, and
whoever goes on from it cuts those that were written after. So a run that is killed at any moment has lost nothing
but the steps since its newest checkpoint.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass

from ray_mentor.core.exchange import AbstractExchange
from ray_mentor.core.state import RunState
from ray_mentor.data.run_directory import CHECKPOINTS, RunDirectory
from ray_mentor.errors import UserError

ATTEMPT = "attempt"
"""The file that says who writes in a run directory: the last one that took it up."""


class Checkpoints:
    """The checkpoints of one run, as one group of ranks sees them. Every rank calls the same methods.

    Making one takes the run over: whoever wrote in the directory before, a worker thought dead or a driver started
    twice, can add nothing more.

    Args:
        keep: how many; the older one is what is left if the newest turns out to be damaged.
        note: told of a damaged checkpoint, on rank 0.
    """

    def __init__(
        self, directory: RunDirectory, exchange: AbstractExchange, keep: int, note: Callable[[str], None]
    ) -> None:
        self._directory = directory
        self._exchange = exchange
        self._keep = keep
        self._note = note
        self._attempt = uuid.uuid4().bytes
        if exchange.rank == 0:
            directory.write(ATTEMPT, self._attempt)

    def newest(self) -> RunState | None:
        """The newest state that can be read; None where there is no checkpoint yet.

        Raises:
            UserError: there are some, and none can be read.
        """
        found = newest_good(self._directory, self._note) if self._exchange.rank == 0 else None
        data, path = self._exchange.broadcast((found.data, found.path) if found else (None, ""))
        return None if data is None else RunState.from_bytes(data, path)

    def add(self, state: RunState) -> None:
        """Writes rank 0's state, which is the run's, once every rank has got here; drops the oldest.

        A damaged checkpoint of a later step, which the run went on without, does not count among those that are kept:
        its turn comes when the run gets there again.
        """
        self._exchange.wait_for_all()
        if self._exchange.rank:
            return
        if self._directory.read(ATTEMPT) != self._attempt:
            raise UserError(f"another process has taken up the run {self._directory.path}; this one stops")
        newest = name_of(state.curriculum.step)
        self._directory.write(f"{CHECKPOINTS}/{newest}", state.to_bytes())
        up_to_here = [name for name in checkpoint_names(self._directory) if name <= newest]
        for name in up_to_here[: -self._keep]:
            self._directory.remove(f"{CHECKPOINTS}/{name}")


@dataclass(frozen=True)
class Found:
    """A checkpoint that can be read: its bytes, and what they say."""

    path: str
    data: bytes
    state: RunState


def newest_good(directory: RunDirectory, note: Callable[[str], None]) -> Found | None:
    """The newest checkpoint that can be read; None where there is none.

    Args:
        note: told of those that are passed over.

    Raises:
        UserError: there are some, and none can be read.
    """
    damaged: list[str] = []
    for name in reversed(checkpoint_names(directory)):
        path = f"{directory.path}/{CHECKPOINTS}/{name}"
        data = directory.read(f"{CHECKPOINTS}/{name}") or b""
        try:
            found = Found(path, data, RunState.from_bytes(data, path))
        except UserError as error:
            damaged.append(str(error))
            continue
        if damaged:
            note(f"{'; '.join(damaged)}; going on from {path}")
        return found
    if damaged:
        raise UserError(f"{'; '.join(damaged)}; there is no other checkpoint to go on from")
    return None


def checkpoint_names(directory: RunDirectory) -> list[str]:
    """The files of a run's checkpoints, oldest first."""
    return [name for name in directory.names(CHECKPOINTS) if name.startswith("step-") and name.endswith(".pt")]


def name_of(step: int) -> str:
    """The file of the checkpoint at a step."""
    return f"step-{step:012d}.pt"


class Timetable:
    """When checkpoints are due: after every so many steps, or seconds on rank 0's watch, and at the end.

    Args:
        seconds: between two; 0: after every step.
        steps: between two; 0: by the seconds alone.
        last: the run's last step.
        first: the step that the run goes on from.
    """

    def __init__(self, seconds: float, steps: int, first: int, last: int, exchange: AbstractExchange) -> None:
        self._seconds = seconds
        self._steps = steps
        self._last = last
        self._exchange = exchange
        self._owed = False
        self._added = self._looked = time.monotonic()
        self._looked_at, self._look = first, first + 1

    def due(self, step: int, *, ready: bool) -> bool:
        """Whether a checkpoint is due after ``step`` steps. Every rank asks after each step.

        Args:
            ready: False while the run waits for something that no checkpoint holds; it is due as soon as this changes.
        """
        self._owed |= (self._steps > 0 and step % self._steps == 0) or self._time_is_up(step)
        if step < self._last and not (self._owed and ready):
            return False
        self._owed, self._added = False, time.monotonic()
        return True

    def _time_is_up(self, step: int) -> bool:
        """Asks rank 0, which costs a message; so only about once a second, and the answer says when to ask again."""
        if step < self._look:
            return False
        now = time.monotonic()
        step_seconds = (now - self._looked) / (step - self._looked_at)
        left = self._seconds - (now - self._added)
        ahead = max(1, int(min(1.0, max(left, 0.0)) / max(step_seconds, 1e-9)))
        up, ahead = self._exchange.broadcast((left <= 0, ahead))
        self._looked, self._looked_at, self._look = now, step, step + ahead
        return bool(up)
