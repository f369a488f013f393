"""Everything that a run carries from one step to the next; nothing else does.

What is random is drawn from (seed, step, purpose, rank) afresh, so no generator's state is kept, and
the batches of an epoch are a function of seed and epoch. Data-parallel ranks hold the same student and
optimizer, and take rank 0's buffers at each forward pass: one rank's state is the run's, but for the loss
history, of which each rank holds a part. It is put together for the state where it is small, and kept apart
in pieces where it is large.
"""

from __future__ import annotations

import copy
import dataclasses
import io
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ray_mentor.core.curriculum import Curriculum
from ray_mentor.core.plain_load import load_plain
from ray_mentor.core.state.curriculum import CurriculumState, capture_curriculum, restore_curriculum
from ray_mentor.core.student.average import Average
from ray_mentor.errors import UserError
from ray_mentor.run.checkpoint.host_copies import host_copies
from ray_mentor.run.checkpoint.kept import KeptState
from ray_mentor.run.checkpoint.state_fit import check_fits
from ray_mentor.run.ledger.files import NO_ROWS
from ray_mentor.run.log import LogState
from ray_mentor.run.meta_set.said import NOTHING_SAID
from ray_mentor.run.tally import TallyState

FORMAT_VERSION = 13


@dataclass(frozen=True)
class RunState:
    """A run between two steps.

    Attributes:
        curriculum: steps, running figures, history and mentor; the step says which epoch it is, and how far into it.
        student: params and buffers of the bare student.
        optimizer: its state dict.
        schedule: the learning-rate schedule's state dict.
        log: metrics and what is not in them yet.
        data: which samples it was trained on, by the name of their split (:mod:`~ray_mentor.data.samples.identity`).
        history_pieces: what the loss history is made of (:mod:`~ray_mentor.core.history.pieces`), where it is kept
            apart; None where ``curriculum`` holds it.
        kept: the best epoch so far, with its student; None where nothing is held out that could say.
        average: of the student's params and buffers; None where none is kept.
        mixture: of sources: windows, shares and updates; None where there is one source.
    """

    curriculum: CurriculumState
    student: dict[str, Tensor]
    optimizer: dict[str, Any]
    schedule: dict[str, Any]
    log: LogState
    data: dict[str, str]
    history_pieces: Tensor | None = None
    kept: KeptState | None = None
    average: dict[str, Tensor] | None = None
    mixture: dict[str, Any] | None = None

    def to_bytes(self) -> bytes:
        """The state as bytes that ``torch.load(weights_only=True)`` reads."""
        buffer = io.BytesIO()
        self.save(buffer)
        return buffer.getvalue()

    def save(self, sink: Any) -> None:
        """Writes these bytes into an open file, so that memory need not hold them, too."""
        table: dict[str, Any] = {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}
        table["curriculum"] = self.curriculum.table()
        table["log"] = {f.name: getattr(self.log, f.name) for f in dataclasses.fields(self.log)}
        table["log"]["tally"] = dataclasses.asdict(self.log.tally)
        if self.kept is not None:
            table["kept"] = {f.name: getattr(self.kept, f.name) for f in dataclasses.fields(self.kept)}
        torch.save({"format_version": FORMAT_VERSION, **table}, sink)

    def with_history(self, whole: Tensor | None) -> RunState:
        """The state with the loss history in it."""
        return dataclasses.replace(self, curriculum=dataclasses.replace(self.curriculum, history=whole))

    def branched(self) -> RunState:
        """The state for another run to go on from, whose ledger begins there."""
        return dataclasses.replace(self, log=dataclasses.replace(self.log, ledger=NO_ROWS, trusted_said=NOTHING_SAID))

    @staticmethod
    def from_bytes(data: bytes, name: str) -> RunState:
        """Reads what :meth:`to_bytes` gave; nothing in it is executed.

        Args:
            name: of the file, for the error.

        Raises:
            UserError: damaged bytes, or another format version.
        """
        try:
            table = load_plain(data)
            found = table.pop("format_version")
            if found == FORMAT_VERSION:
                curriculum, log = CurriculumState.from_table(table.pop("curriculum")), table.pop("log")
                log["tally"] = TallyState(**log["tally"])
                kept = table.pop("kept")
                kept = None if kept is None else KeptState(**kept)
                return RunState(curriculum=curriculum, log=LogState(**log), kept=kept, **table)
        except Exception as error:
            raise UserError(f"checkpoint {name} cannot be read ({type(error).__name__}: {error})") from error
        raise UserError(f"checkpoint {name} has format version {found}, but this version reads {FORMAT_VERSION}")


def capture(
    curriculum: Curriculum,
    schedule: torch.optim.lr_scheduler.LRScheduler,
    log: LogState,
    data: dict[str, str],
    kept: KeptState | None = None,
    average: Average | None = None,
    mixture: dict[str, Any] | None = None,
) -> RunState:
    """The state of a run, as it stands, but for its loss history.

    A copy, so that it stays so while the run goes on, and in the host's memory: the device need not have room for it.
    """
    return RunState(
        curriculum=capture_curriculum(curriculum, history=None),
        data=data,
        **host_copies(
            student=dict(curriculum.bare.state_dict()),
            optimizer=curriculum.optimizer.state_dict(),
            schedule=schedule.state_dict(),
            log=log,
            average=None if average is None else average.values,
        ),
        kept=kept,  # a copy already
        mixture=mixture,
    )


def restore(
    state: RunState,
    curriculum: Curriculum,
    schedule: torch.optim.lr_scheduler.LRScheduler,
    average: Average | None = None,
) -> None:
    """Makes ``curriculum`` and ``schedule`` go on where ``state`` was captured; the mentor too, wherever it lives.

    Raises:
        UserError: a state of another run, or one that no run would have written; then nothing has changed.
    """
    check_fits(state, curriculum, schedule, average)
    curriculum.bare.load_state_dict(state.student)
    curriculum.optimizer.load_state_dict(copy.deepcopy(state.optimizer))
    schedule.load_state_dict(state.schedule)
    if average is not None and state.average is not None:
        average.load(state.average)
    restore_curriculum(state.curriculum, curriculum)
