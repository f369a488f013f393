"""Run states that hold nothing but a step, and a loss history's values."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from ray_mentor.core.exchange import AbstractExchange, Alone
from ray_mentor.core.history.table import LossHistory
from ray_mentor.core.mentor.guards import GuardState
from ray_mentor.core.state.curriculum import CurriculumState
from ray_mentor.core.step.memorising import MemorisingState
from ray_mentor.run.checkpoint.checkpoints import Checkpoints
from ray_mentor.run.checkpoint.state import LogState, RunState
from ray_mentor.run.claim import attempted
from ray_mentor.run.directory import RunDirectory
from ray_mentor.run.ledger.files import NO_ROWS, LedgerFiles
from ray_mentor.run.meta_set.said import NOTHING_SAID
from ray_mentor.run.tally import TallyState


def state_at(step: int) -> RunState:
    curriculum = CurriculumState(step, 0, None, MemorisingState(), None, None, GuardState())
    log = LogState([], TallyState(torch.zeros(1, 3, dtype=torch.float64), []), 1.0, 0.0, NO_ROWS, NOTHING_SAID)
    return RunState(curriculum, {}, {}, {}, log, {})


def checkpoints_of(
    directory: RunDirectory,
    history: LossHistory,
    largest_inside: int = 0,
    exchange: AbstractExchange | None = None,
    *,
    keep: int = 2,
    note: Callable[[str], None] = print,
) -> Checkpoints:
    """Of a run that these ranks take up, which has no ledger. A collective call."""
    exchange = exchange or Alone()
    claimed = attempted(directory, exchange)
    return Checkpoints(claimed, exchange, keep, note, history, LedgerFiles(claimed, exchange), largest_inside)


def push_steps(history: LossHistory, steps: range, batch: int = 5) -> None:
    """A function of the step alone: some rows, and their losses."""
    for step in steps:
        draw = torch.Generator().manual_seed(step)
        rows = torch.randperm(history.n_samples, generator=draw)[:batch]
        history.push(rows, torch.rand(batch, generator=draw))


def values_after(steps: int, n_samples: int, length: int) -> Tensor:
    """The whole table after so many steps, -1 where there is nothing."""
    history = LossHistory(n_samples, length)
    push_steps(history, range(steps))
    return history.table.nan_to_num(-1)
