"""Checkpoints of a run: files in its directory, the same whether it is one process or many on Ray.

A checkpoint at step s stands for everything before s: the ledger rows of all ranks are written before it, and
whoever goes on from it cuts those that were written after. So a run that is killed at any moment has lost nothing
but the steps since its newest checkpoint. A loss history that is large has files of its own.
"""

from __future__ import annotations

import dataclasses
import time
import uuid
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

import torch

from ray_mentor.core.exchange import AbstractExchange, Alone
from ray_mentor.core.history.table import LossHistory
from ray_mentor.errors import UserError
from ray_mentor.run.checkpoint.history_files import HistoryFiles, check_there
from ray_mentor.run.checkpoint.state import RunState
from ray_mentor.run.directory import CHECKPOINTS, RunDirectory

LARGEST_INSIDE = 4 << 20
"""Bytes of a loss history's table up to which every checkpoint holds the whole of it."""

ATTEMPT = "attempt"
"""The file that says who writes in a run directory: the last one that took it up."""


class Checkpoints:
    """The checkpoints of one run, as one group of ranks sees them. Every rank calls the same methods.

    Making one takes the run over: whoever wrote in the directory before, a worker thought dead or a driver started
    twice, can add nothing more.

    Args:
        keep: how many; the older one is what is left if the newest turns out to be damaged.
        note: told of a damaged checkpoint.
        history: of this rank.
        largest_inside: bytes of its table up to which it is no large one.
    """

    def __init__(
        self,
        directory: RunDirectory,
        exchange: AbstractExchange,
        keep: int,
        note: Callable[[str], None],
        history: LossHistory,
        largest_inside: int = LARGEST_INSIDE,
    ) -> None:
        self._directory = directory
        self._exchange = exchange
        self._keep = keep
        self._note = note
        self._history = history
        is_large = 4 * history.n_samples * history.length > largest_inside
        self._history_files = HistoryFiles(directory, exchange, history) if is_large else None
        self._attempt = uuid.uuid4().bytes
        if exchange.rank == 0:
            directory.write(ATTEMPT, self._attempt)

    def newest(self) -> RunState | None:
        """The newest state that can be read; None where there is no checkpoint yet.

        A loss history that has files of its own is taken up from them.

        Raises:
            UserError: there are some, and none can be read.
        """
        found = _newest(self._directory, self._note, self._exchange, self._take_up_history)
        if self._history_files is not None and self._exchange.rank == 0:
            self._tidy(self._history_files)
        return found.state if found else None

    def add(self, state: RunState) -> None:
        """Writes rank 0's state, which is the run's, once every rank has got here; drops the oldest.

        A damaged checkpoint of a later step, which the run went on without, does not count among those that are kept:
        its turn comes when the run gets there again.
        """
        state = self._with_history(state)
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
        if self._history_files is not None:
            self._history_files.note(newest, state.history_pieces)
            self._history_files.keep(checkpoint_names(self._directory))

    def _with_history(self, state: RunState) -> RunState:
        if self._history_files is None:
            return state.with_history(self._history.whole(self._exchange))
        return dataclasses.replace(state, history_pieces=self._history_files.save(state.curriculum.step))

    def _take_up_history(self, state: RunState) -> None:
        pieces = state.history_pieces
        if (pieces is None) != (self._history_files is None):
            raise ValueError(f"its loss history is not of {self._history.shape} (samples, losses each)")
        if self._history_files is not None and pieces is not None:
            self._history_files.load(pieces)

    def _tidy(self, files: HistoryFiles) -> None:
        """Removes the files that whoever wrote here before had written for a checkpoint that never came."""
        files.find()
        names = checkpoint_names(self._directory)
        for name in names:
            data = self._directory.read(f"{CHECKPOINTS}/{name}") or b""
            with suppress(UserError, ValueError):
                files.note(name, RunState.from_bytes(data, name).history_pieces)
        files.keep(names)


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
    return _newest(directory, note, Alone(), lambda state: check_there(directory, state.history_pieces))


def _newest(
    directory: RunDirectory,
    note: Callable[[str], None],
    exchange: AbstractExchange,
    take_up: Callable[[RunState], None],
) -> Found | None:
    """The newest checkpoint that every rank can read, and what belongs to it, which is taken up on the way."""
    damaged: list[str] = []
    for name in reversed(exchange.broadcast(checkpoint_names(directory) if exchange.rank == 0 else None)):
        path = f"{directory.path}/{CHECKPOINTS}/{name}"
        data = exchange.broadcast(directory.read(f"{CHECKPOINTS}/{name}") or b"" if exchange.rank == 0 else None)
        found, trouble = _read(path, data, take_up)
        trouble = _first(trouble, exchange)
        if trouble:
            damaged.append(trouble)
            continue
        if damaged:
            note(f"{'; '.join(damaged)}; going on from {path}")
        return found
    if damaged:
        raise UserError(f"{'; '.join(damaged)}; there is no other checkpoint to go on from")
    return None


def _read(path: str, data: bytes, take_up: Callable[[RunState], None]) -> tuple[Found | None, str]:
    """A checkpoint, or what is wrong with it."""
    try:
        found = Found(path, data, RunState.from_bytes(data, path))
        take_up(found.state)
    except UserError as error:
        return None, str(error)
    except ValueError as error:
        return None, f"checkpoint {path} cannot be read ({error})"
    return found, ""


def _first(trouble: str, exchange: AbstractExchange) -> str:
    """What the first rank says that has something to say. A collective call."""
    words = trouble.encode() + b"\0" if trouble else b""
    said = exchange.gather_any(torch.tensor(list(words), dtype=torch.uint8)[:, None])
    return bytes(said[:, 0].tolist()).split(b"\0")[0].decode()


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
