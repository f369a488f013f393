"""Checkpoints of a run: files in its directory, the same whether it is one process or many on Ray.

A checkpoint at step s stands for everything before s: the ledger rows of all ranks are written before it, and it names
their files. So a run that is killed at any moment has lost nothing but the steps since its newest checkpoint. A loss
history that is large has files of its own.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

import torch

from ray_mentor.core.exchange import AbstractExchange, Alone
from ray_mentor.core.history.table import LossHistory
from ray_mentor.data.memory import require_memory
from ray_mentor.errors import UserError
from ray_mentor.run.checkpoint import history_files
from ray_mentor.run.checkpoint.history_files import HistoryFiles
from ray_mentor.run.checkpoint.state import RunState
from ray_mentor.run.claim import Claim, ClaimedDirectory
from ray_mentor.run.directory import CHECKPOINTS, RunDirectory, name_of
from ray_mentor.run.ledger import files as ledger_files
from ray_mentor.run.ledger.files import LedgerFiles

LARGEST_INSIDE = 4 << 20
"""Bytes of a loss history's table up to which every checkpoint holds the whole of it."""


class Checkpoints:
    """The checkpoints of one run, as one group of ranks sees them. Every rank calls the same methods.

    Args:
        directory: of the run, which these ranks have taken up.
        keep: how many; the older one is what is left if the newest turns out to be damaged.
        note: told of a damaged checkpoint.
        history: of this rank.
        ledger: of this rank.
        largest_inside: bytes of the history's table up to which it is no large one.
    """

    def __init__(
        self,
        directory: ClaimedDirectory,
        exchange: AbstractExchange,
        keep: int,
        note: Callable[[str], None],
        history: LossHistory,
        ledger: LedgerFiles,
        largest_inside: int = LARGEST_INSIDE,
    ) -> None:
        self._directory = directory
        self._exchange = exchange
        self._keep = keep
        self._note = note
        self._history = history
        self._ledger = ledger
        is_large = 4 * history.n_samples * history.width > largest_inside
        self._history_files = HistoryFiles(directory, exchange, history) if is_large else None
        self._good: list[str] = []  # newest first: those that this run goes on from
        self._passed_over: list[str] = []

    def newest(self) -> RunState | None:
        """The newest state that can be read; None where there is no checkpoint yet.

        The ledger, and a loss history that has files of its own, are taken up from them. A collective call.

        Raises:
            UserError: there are some, and none can be read.
        """
        names = self._exchange.broadcast(checkpoint_names(self._directory) if self._exchange.rank == 0 else None)
        found = _newest(self._directory, names, self._note, self._exchange, self._take_up)
        place = names.index(found.name) if found else 0
        self._passed_over, self._good = names[:place], names[place:]
        if self._exchange.rank == 0:
            self._ledger.show(found.state.log.ledger if found else ledger_files.NO_ROWS)
            self._ledger.tidy(names)
            if self._history_files is not None:
                self._tidy(self._history_files, names)
        self._drop_the_oldest()
        self._exchange.wait_for_all()
        return found.state if found else None

    def add(self, step: int, state: RunState | None) -> None:
        """Writes the state after so many steps once every rank has got here; drops the oldest. A collective call.

        A damaged checkpoint of a later step, which the run went on without, does not count among those that are kept:
        its turn comes when the run gets there again.

        Args:
            state: the run's, which rank 0 gives, without its loss history; the others give None.
        """
        name = name_of(step, self._directory.attempt)
        pieces, whole = None, None
        if self._history_files is not None:
            pieces = self._history_files.save(step)
        else:
            whole = self._history.whole(self._exchange)
        self._exchange.wait_for_all()
        if state is not None:
            complete = dataclasses.replace(state.with_history(whole), history_pieces=pieces)
            self._directory.fill(f"{CHECKPOINTS}/{name}", complete.save)
            self._ledger.show(state.log.ledger)
        self._exchange.wait_for_all()
        self._good = [name, *(other for other in self._good if other != name)]
        if self._history_files is not None and self._exchange.rank == 0:
            self._history_files.note(name, pieces)
        self._drop_the_oldest()

    def _drop_the_oldest(self) -> None:
        """Each rank removes what it wrote beside them."""
        newest_step = step_of(self._good[0]) if self._good else -1
        dropped = [name for name in self._passed_over if step_of(name) <= newest_step] + self._good[self._keep :]
        self._good = self._good[: self._keep]
        self._passed_over = [name for name in self._passed_over if name not in dropped]
        stay = [*self._good, *self._passed_over]
        if self._exchange.rank == 0:
            for name in dropped:
                self._directory.remove(f"{CHECKPOINTS}/{name}")
        self._ledger.keep(stay)
        if self._history_files is not None and self._exchange.rank == 0:
            self._history_files.keep(stay)

    def _take_up(self, state: RunState) -> None:
        pieces = state.history_pieces
        if (pieces is None) != (self._history_files is None):
            raise ValueError(f"its loss history is not of {self._history.shape} (samples, numbers each)")
        if self._exchange.rank == 0:
            ledger_files.check_there(self._directory, state.log.ledger, state.curriculum.step)
        self._ledger.take_up(state.log.ledger, state.curriculum.step)
        if self._history_files is not None and pieces is not None:
            self._history_files.load(pieces)

    def _tidy(self, files: HistoryFiles, names: list[str]) -> None:
        """Removes the files that whoever wrote here before had written for a checkpoint that never came."""
        files.find()
        for name in names:
            with suppress(UserError, ValueError):
                data = _bytes_of(self._directory, name)
                files.note(name, RunState.from_bytes(data, name).history_pieces)
        files.keep(names)


@dataclass(frozen=True)
class Found:
    """A checkpoint that can be read."""

    path: str
    state: RunState

    @property
    def name(self) -> str:
        """Of its file."""
        return self.path.rsplit("/", 1)[1]


def newest_good(directory: RunDirectory, note: Callable[[str], None]) -> Found | None:
    """The newest checkpoint that can be read; None where there is none.

    Args:
        note: told of those that are passed over.

    Raises:
        UserError: there are some, and none can be read.
    """

    def check_there(state: RunState) -> None:
        history_files.check_there(directory, state.history_pieces)
        ledger_files.check_there(directory, state.log.ledger, state.curriculum.step)

    return _newest(directory, checkpoint_names(directory), note, Alone(), check_there)


def _newest(
    directory: RunDirectory,
    names: list[str],
    note: Callable[[str], None],
    exchange: AbstractExchange,
    take_up: Callable[[RunState], None],
) -> Found | None:
    """The first checkpoint that every rank can read, and what belongs to it, which is taken up on the way."""
    damaged: list[str] = []
    for name in names:
        path = f"{directory.path}/{CHECKPOINTS}/{name}"
        data, trouble = _bytes_or_trouble(directory, name) if exchange.rank == 0 else (b"", "")
        found, unreadable = _read(path, exchange.broadcast(data), take_up)
        trouble = _first(trouble or unreadable, exchange)
        if trouble:
            damaged.append(trouble)
            continue
        if damaged:
            note(f"{'; '.join(damaged)}; going on from {path}")
        return found
    if damaged:
        raise UserError(f"{'; '.join(damaged)}; there is no other checkpoint to go on from")
    return None


def _bytes_of(directory: RunDirectory, name: str) -> bytes:
    """A checkpoint's content.

    Raises:
        UserError: it and what is made of it do not fit into memory.
    """
    path, size = f"{CHECKPOINTS}/{name}", directory.size(f"{CHECKPOINTS}/{name}") or 0
    require_memory(
        _COPIES * size,
        f"the contents of checkpoint {directory.path}/{path}",
        "go on where there is more, or remove it if it is damaged",
    )
    return directory.read(path) or b""


_COPIES = 2
"""Of a checkpoint in memory while it is read: the file's bytes, and the tensors that are made of them."""


def _bytes_or_trouble(directory: RunDirectory, name: str) -> tuple[bytes, str]:
    try:
        return _bytes_of(directory, name), ""
    except UserError as error:
        return b"", error.written
    except MemoryError as error:
        return b"", f"checkpoint {directory.path}/{CHECKPOINTS}/{name} cannot be read ({type(error).__name__}: {error})"


def _read(path: str, data: bytes, take_up: Callable[[RunState], None]) -> tuple[Found | None, str]:
    """A checkpoint, or what is wrong with it."""
    try:
        found = Found(path, RunState.from_bytes(data, path))
        take_up(found.state)
    except UserError as error:
        return None, error.written
    except ValueError as error:
        return None, f"checkpoint {path} cannot be read ({error})"
    return found, ""


def _first(trouble: str, exchange: AbstractExchange) -> str:
    """What the first rank says that has something to say. A collective call."""
    words = trouble.encode() + b"\0" if trouble else b""
    said = exchange.gather_any(torch.tensor(list(words), dtype=torch.uint8)[:, None])
    return bytes(said[:, 0].tolist()).split(b"\0")[0].decode()


def checkpoint_names(directory: RunDirectory) -> list[str]:
    """The files of a run's checkpoints, the one first that a run goes on from: the last of the newest attempt.

    What an attempt still wrote when there was a newer one already comes behind all that is the newer one's.
    """
    newest_first = Claim.on(directory).attempts
    age = {attempt: place for place, attempt in enumerate(newest_first)}

    def turn(name: str) -> tuple[int, int]:
        found = _NAME.fullmatch(name)
        assert found is not None
        return age.get(found[2], len(age)), -int(found[1])

    return sorted(filter(_NAME.fullmatch, directory.names(CHECKPOINTS)), key=turn)


_NAME = re.compile(r"step-(\d{12,})(?:-([0-9a-f]{16}))?\.pt")
"""Until format version 6 the attempt was no part of it."""


def step_of(name: str) -> int:
    """The step at which a checkpoint was made, by its file's name."""
    return int(name.split("-")[1].removesuffix(".pt"))
