"""The ledger's files: one a rank and epoch, or several short epochs, and which of them count.

``ledger/`` holds epochs that have ended, each row once. The rows of the epoch under way belong to the checkpoints,
beside which they lie: each checkpoint has a file of them a rank, which holds all since the epoch began, and goes with
it. (An epoch of very many rows ends early for this purpose, so that no checkpoint writes more than that.) Whoever goes
on from a checkpoint reads these rows back, so that in the end they are part of their epoch's file. All files are there
before the checkpoint that names them, and have the attempt in their names.
"""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet
import torch
from jaxtyping import Int
from torch import Tensor

from ray_mentor.core.exchange import AbstractExchange
from ray_mentor.core.step.record import StepRecord
from ray_mentor.data.memory import require_memory
from ray_mentor.data.samples.rows import Rows
from ray_mentor.errors import UserError
from ray_mentor.run.claim import Claim, ClaimedDirectory
from ray_mentor.run.directory import CHECKPOINTS, LEDGER, RunDirectory, name_of
from ray_mentor.run.ledger.moved import moved
from ray_mentor.run.ledger.rows import LATER, ROW_BYTES, SCHEMA, LedgerRows

UNDER_WAY = f"{CHECKPOINTS}/ledger"

FULL = 1 << 20
"""Rows of a rank from which on a file is closed at the next checkpoint, though its epoch has not ended."""

_NAME = re.compile(r"step-\d{12,}-(\d{12,})-rank-\d{4,}-([0-9a-f]{16})\.parquet")
_INDEX_BYTES = 1 << 26


@dataclass(frozen=True)
class Stretch:
    """Steps, the rows of which lie in files of their own, one a rank.

    Attributes:
        first: its first step.
        stop: the step behind its last one.
        first_epoch: of the first step.
        last_epoch: of the last one.
        ranks: who wrote them.
        writer: their attempt.
        ended: 1 for epochs that have ended, 0 for the one under way.
    """

    first: int
    stop: int
    first_epoch: int
    last_epoch: int
    ranks: int
    writer: int
    ended: int

    def name(self, rank: int) -> str:
        """A rank's file."""
        folder = LEDGER if self.ended else UNDER_WAY
        return f"{folder}/step-{self.first:012d}-{self.stop:012d}-rank-{rank:04d}-{self.writer:016x}.parquet"

    @property
    def names(self) -> Iterator[str]:
        """All ranks' files."""
        return map(self.name, range(self.ranks))


class LedgerFiles:
    """A rank's part of a run's ledger. Every rank calls the same methods.

    Args:
        domains: the source of each sample of the training split; None where there is one.
        groups: its group; None where nobody says.
    """

    def __init__(
        self,
        directory: ClaimedDirectory,
        exchange: AbstractExchange,
        domains: Rows | None = None,
        groups: Rows | None = None,
    ) -> None:
        self._directory = directory
        self._of = domains, groups
        self._exchange = exchange
        self._rows = LedgerRows()
        self._closed: list[Stretch] = []
        self._first = 0  # step of the first row that is in no closed file
        self._first_epoch = self._last_epoch = 0
        self._ended: tuple[int, int] | None = None  # the last epoch with an end among these: steps by then, and which
        self._beside: dict[str, set[str]] = {}  # checkpoints, and the files of the epoch under way that go with them
        directory.create((UNDER_WAY,))

    def append(self, epoch: int, record: StepRecord) -> None:
        """Takes down one step."""
        if record.step == self._first:
            self._first_epoch = epoch
        self._last_epoch = epoch
        self._rows.append(epoch, record, *self._of)

    def end_epoch(self, step: int) -> None:
        """The epoch has ended, after so many steps of the run."""
        self._rows.end_epoch()
        self._ended = step, self._last_epoch

    def save(self, step: int) -> Int[Tensor, "stretches facts"]:
        """Writes the rows up to ``step``, and returns what the ledger is now made of. A collective call."""
        if max(self._exchange.sizes(len(self._rows))) >= FULL:
            self.end_epoch(step)
        if self._ended is not None:
            closed = self._stretch(*self._ended, ended=True)
            self._write(closed, self._rows.take_ended())
            self._closed.append(closed)
            self._first, self._first_epoch, self._ended = closed.stop, self._last_epoch, None
        under_way = [self._stretch(step, self._last_epoch, ended=False)] if step > self._first else []
        for stretch in under_way:
            self._write(stretch, self._rows.table())
            own = {stretch.name(self._exchange.rank)}
            self._beside[name_of(step, self._directory.attempt)] = own
        return table_of([*self._closed, *under_way])

    def take_up(self, table: Any, step: int) -> None:
        """Goes on from what a checkpoint after so many steps says.

        Raises:
            ValueError: a file is missing, or holds what no run would have written.
        """
        stretches = stretches_of(table, step)
        self._closed = [stretch for stretch in stretches if stretch.ended]
        under_way = stretches[len(self._closed) :]
        self._rows, self._ended = LedgerRows(), None
        self._first = self._closed[-1].stop if self._closed else step
        for stretch in under_way:
            self._first, self._first_epoch, self._last_epoch = stretch.first, stretch.first_epoch, stretch.last_epoch
            for rank in range(self._exchange.rank, stretch.ranks, self._exchange.world_size):
                self._rows.extend(_read_back(self._directory, stretch, rank))

    def tidy(self, checkpoints: Collection[str]) -> None:
        """Rank 0 removes what whoever wrote here before had written for a checkpoint that never came.

        Args:
            checkpoints: the files of those that are there.
        """
        needed = {name for stretch in self._closed for name in stretch.names}
        needed.add(_index(self._directory.attempt))
        for name in self._directory.names(LEDGER):
            is_ours = _NAME.fullmatch(name) or name.startswith(_INDEX)
            if is_ours and f"{LEDGER}/{name}" not in needed:
                self._directory.remove(f"{LEDGER}/{name}")
        for name in self._directory.names(UNDER_WAY):
            found = _NAME.fullmatch(name)
            whose = name_of(int(found[1]), found[2]) if found else ""
            self._beside.setdefault(whose, set()).add(f"{UNDER_WAY}/{name}")
        self.keep(checkpoints)

    def keep(self, checkpoints: Collection[str]) -> None:
        """Removes own files that go with other checkpoints than these; rank 0 those of earlier attempts, too."""
        for whose in self._beside.keys() - set(checkpoints):
            for name in self._beside.pop(whose):
                self._directory.remove(name)

    def show(self, table: Tensor) -> None:
        """Rank 0 writes down which files count, which the newest checkpoint says, for whoever reads the ledger."""
        self._directory.write(_index(self._directory.attempt), json.dumps(table.tolist()).encode())

    def _stretch(self, stop: int, last_epoch: int, *, ended: bool) -> Stretch:
        writer = int(self._directory.attempt, 16)
        ranks = self._exchange.world_size
        return Stretch(self._first, stop, self._first_epoch, last_epoch, ranks, writer, int(ended))

    def _write(self, stretch: Stretch, rows: pa.Table) -> None:
        self._directory.fill(
            stretch.name(self._exchange.rank),
            lambda sink: pyarrow.parquet.write_table(rows, sink, write_page_checksum=True),
        )


def read_ledger(directory: RunDirectory, epoch: int | None = None) -> pa.Table:
    """All ledger rows written so far; those of one epoch alone, if it is named.

    Raises:
        UserError: a file is gone, or damaged.
    """
    return pa.concat_tables([SCHEMA.empty_table(), *ledger_parts(directory, epoch)])


def ledger_parts(
    directory: RunDirectory,
    epoch: int | None = None,
    columns: Sequence[str] = SCHEMA.names,
    names: Sequence[str] | None = None,
) -> Iterator[pa.Table]:
    """The same, a file's rows at a time; of ``columns`` alone.

    Of an earlier version's ledger the columns that it does not have say that nothing is known (:data:`LATER`).

    Args:
        names: the files, as :func:`files_that_count` had them: whoever reads twice reads the same rows, though the run
            goes on.
    """
    for name in files_that_count(directory, epoch) if names is None else names:
        yield _part(directory, name, None, epoch, columns)


def _part(directory: RunDirectory, name: str, stop: int | None, epoch: int | None, columns: Sequence[str]) -> pa.Table:
    """A file's rows before a step, wherever they are by now."""
    path, files = directory.place(name)
    wanted = None if epoch is None else pc.field("epoch") == epoch
    if stop is not None:
        early = pc.field("step") < stop
        wanted = early if wanted is None else wanted & early
    try:
        with pyarrow.parquet.ParquetFile(path, filesystem=files) as file:
            missing = [name for name in columns if name in LATER and name not in file.schema_arrow.names]
            there = [name for name in columns if name not in missing]
            if any(file.schema_arrow.field(column) != SCHEMA.field(column) for column in there):
                raise pa.ArrowInvalid("it has other columns than it should")
            _require_memory(file, name)
        rows = pyarrow.parquet.read_table(path, filesystem=files, columns=there, filters=wanted)
    except (OSError, pa.ArrowInvalid, KeyError) as error:
        found = moved(name, stop, files_that_count(directory)) if isinstance(error, FileNotFoundError) else None
        if found is not None:
            return _part(directory, found.name, found.stop, epoch, columns)
        raise UserError(f"{directory.path}/{name} of the ledger cannot be read ({error}); put it back") from error
    for column in missing:
        rows = rows.append_column(SCHEMA.field(column), pa.repeat(_unknown(column), len(rows)))
    return rows.select(list(columns))


def _unknown(column: str) -> pa.Scalar:
    return pa.scalar(LATER[column], SCHEMA.field(column).type)


def check_there(directory: RunDirectory, table: Any, step: int) -> None:
    """Raises a ValueError if one of the files is missing that a checkpoint after so many steps names."""
    stretches = stretches_of(table, step)
    there = {f"{folder}/{name}" for folder in (LEDGER, UNDER_WAY) for name in directory.names(folder)}
    for stretch in stretches:
        missing = next((name for name in stretch.names if name not in there), None)
        if missing is not None:
            raise ValueError(f"its {missing} is missing")


def table_of(stretches: Sequence[Stretch]) -> Int[Tensor, "stretches facts"]:
    """The stretches as numbers, a row each."""
    return torch.tensor([dataclasses.astuple(one) for one in stretches], dtype=torch.int64).reshape(-1, _FACTS)


def stretches_of(table: Any, step: int) -> list[Stretch]:
    """The inverse of :func:`table_of`, of a ledger after so many steps.

    Raises:
        ValueError: anything else.
    """
    is_table = isinstance(table, Tensor) and table.dtype == torch.int64 and table.ndim == 2
    if not is_table or table.shape[1] != _FACTS:
        raise ValueError("what it says of its ledger is no table of stretches")
    found = [Stretch(*row) for row in table.tolist()]
    ends = [stretch.stop for stretch in found]
    joined = all(stretch.first == end for stretch, end in zip(found[1:], ends, strict=False))
    only_last_goes_on = all(stretch.ended for stretch in found[:-1])
    if not (all(map(_is_sound, found)) and joined and only_last_goes_on and ends[-1:] in ([], [step])):
        raise ValueError("what it says of its ledger makes no sense")
    return found


_FACTS = len(dataclasses.fields(Stretch))

NO_ROWS = table_of([])
"""Of a ledger that has yet to begin."""

_MOST_RANKS = 10**6


def _is_sound(stretch: Stretch) -> bool:
    steps = 0 <= stretch.first < stretch.stop
    epochs = 0 <= stretch.first_epoch <= stretch.last_epoch
    return steps and epochs and 0 < stretch.ranks <= _MOST_RANKS and stretch.writer >= 0 and stretch.ended in (0, 1)


def _read_back(directory: RunDirectory, stretch: Stretch, rank: int) -> pa.Table:
    """A rank's rows of the epoch under way.

    Raises:
        ValueError: the file is missing, or holds something else.
        UserError: it holds more than there is memory.
    """
    name = stretch.name(rank)
    path, files = directory.place(name)
    try:
        with pyarrow.parquet.ParquetFile(path, filesystem=files, page_checksum_verification=True) as file:
            if not file.schema_arrow.equals(SCHEMA):
                raise ValueError(f"its {name} holds other rows than it should")
            _require_memory(file, name)
            rows = file.read()
    except FileNotFoundError as error:
        raise ValueError(f"its {name} is missing") from error
    except (OSError, pa.ArrowException) as error:
        raise ValueError(f"its {name} is damaged ({error})") from error
    if not _lies_in(rows["step"], stretch.first, stretch.stop):
        raise ValueError(f"its {name} holds other rows than it should")
    return rows


def _require_memory(file: pyarrow.parquet.ParquetFile, name: str) -> None:
    require_memory(file.metadata.num_rows * ROW_BYTES, f"the rows in {name}", "free some")


def _lies_in(column: pa.ChunkedArray, first: int, stop: int) -> bool:
    if not len(column):
        return True
    ends = pc.min_max(column).as_py()
    return not column.null_count and first <= ends["min"] and ends["max"] < stop


def files_that_count(directory: RunDirectory, epoch: int | None = None) -> Iterator[str]:
    """The files of the newest attempt that has written down which they are."""
    for attempt in Claim.on(directory).attempts:
        said = directory.read(_index(attempt), at_most=_INDEX_BYTES)
        if said is not None:
            yield from _names_in(said, directory, epoch)
            return
    yield from (f"{LEDGER}/{name}" for name in directory.names(LEDGER) if name.endswith(".parquet"))


def _names_in(said: bytes, directory: RunDirectory, epoch: int | None) -> Iterator[str]:
    try:
        rows = json.loads(said)
        found = stretches_of(torch.tensor(rows, dtype=torch.int64).reshape(-1, _FACTS), rows[-1][1] if rows else 0)
    except Exception as error:  # whatever a file that is none trips over
        raise UserError(f"what {directory.path} says of its ledger cannot be read ({error}); put it back") from error
    for stretch in found:
        if epoch is None or stretch.first_epoch <= epoch <= stretch.last_epoch:
            yield from stretch.names


def _index(attempt: str) -> str:
    return f"{LEDGER}/{_INDEX}{attempt}.json"


_INDEX = "_files-"
"""Begins with _, so that who reads the folder as one table of Parquet files leaves it out."""
