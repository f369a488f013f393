"""Everything that a run carries from one step to the next; nothing else does.

What is random is drawn from (seed, step, purpose, rank) afresh, so no generator's state is kept, and
the batches of an epoch are a function of seed and epoch. Data-parallel ranks hold the same student,
optimizer and history, and take rank 0's buffers at each forward pass: one rank's state is the run's.
"""

from __future__ import annotations

import copy
import dataclasses
import io
import zipfile
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ray_mentor.core.curriculum import Curriculum
from ray_mentor.core.mentor_learner import MentorState
from ray_mentor.errors import UserError

FORMAT_VERSION = 1


@dataclass(frozen=True)
class RunState:
    """A run between two steps.

    Attributes:
        step: steps done.
        epoch: passes done.
        meta_updates: meta updates done.
        student: params and buffers of the bare student.
        optimizer: its state dict.
        schedule: the learning-rate schedule's state dict.
        percentile: the running percentile, None before the first step.
        history: the loss history's table.
        mentor: the latest mentor, None for methods without a learning one.
        metrics: one row an epoch.
        train_seconds: time spent training so far.
    """

    step: int
    epoch: int
    meta_updates: int
    student: dict[str, Tensor]
    optimizer: dict[str, Any]
    schedule: dict[str, Any]
    percentile: float | None
    history: Tensor
    mentor: MentorState | None
    metrics: list[dict[str, float | None]]
    train_seconds: float

    def to_bytes(self) -> bytes:
        """The state as bytes that ``torch.load(weights_only=True)`` reads."""
        table: dict[str, Any] = {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}
        table["mentor"] = None if self.mentor is None else dataclasses.asdict(self.mentor)
        buffer = io.BytesIO()
        torch.save({"format_version": FORMAT_VERSION, **table}, buffer)
        return buffer.getvalue()

    @staticmethod
    def from_bytes(data: bytes, name: str) -> RunState:
        """Reads what :meth:`to_bytes` gave; nothing in it is executed.

        Args:
            name: of the file, for the error.

        Raises:
            UserError: damaged bytes, or another format version.
        """
        try:
            _check_sums(data)
            table = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
            found = table.pop("format_version")
            if found == FORMAT_VERSION:
                mentor = table.pop("mentor")
                return RunState(mentor=None if mentor is None else MentorState(**mentor), **table)
        except Exception as error:
            raise UserError(f"checkpoint {name} cannot be read ({type(error).__name__}: {error})") from error
        raise UserError(f"checkpoint {name} has format version {found}, but this version reads {FORMAT_VERSION}")


def _check_sums(data: bytes) -> None:
    """``torch.load`` does not compare the checksums that ``torch.save`` writes: a damaged file would load as it is."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        damaged = archive.testzip()
    if damaged is not None:
        raise ValueError(f"its part {damaged} is damaged")


def capture(
    curriculum: Curriculum,
    schedule: torch.optim.lr_scheduler.LRScheduler,
    *,
    epoch: int,
    metrics: list[dict[str, float | None]],
    train_seconds: float,
) -> RunState:
    """The state of a run, as it stands; a copy, so that it stays so while the run goes on."""
    mentor = curriculum.parts.mentor
    return RunState(
        step=curriculum.step_number,
        epoch=epoch,
        meta_updates=curriculum.meta_updates,
        student=copy.deepcopy(dict(curriculum.bare.state_dict())),
        optimizer=copy.deepcopy(curriculum.optimizer.state_dict()),
        schedule=copy.deepcopy(schedule.state_dict()),
        percentile=curriculum.percentile.value,
        history=curriculum.history.table.clone(),
        mentor=None if mentor is None else mentor.state,
        metrics=list(metrics),
        train_seconds=train_seconds,
    )


def restore(state: RunState, curriculum: Curriculum, schedule: torch.optim.lr_scheduler.LRScheduler) -> None:
    """Makes ``curriculum`` and ``schedule`` go on where ``state`` was captured; the mentor too, wherever it lives."""
    curriculum.bare.load_state_dict(state.student)
    curriculum.optimizer.load_state_dict(copy.deepcopy(state.optimizer))
    schedule.load_state_dict(state.schedule)
    curriculum.percentile.value = state.percentile
    curriculum.history.table = state.history.clone()
    curriculum.step_number = state.step
    curriculum.meta_updates = state.meta_updates
    if curriculum.parts.mentor is not None and state.mentor is not None:
        curriculum.parts.mentor.load(state.mentor)
