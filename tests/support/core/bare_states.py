"""Run states that hold nothing but a step, and a loss history's values."""

from __future__ import annotations

import torch
from torch import Tensor

from ray_mentor.core.history.table import LossHistory
from ray_mentor.core.mentor.guards import GuardState
from ray_mentor.core.state.curriculum import CurriculumState
from ray_mentor.core.step.memorising import MemorisingState
from ray_mentor.run.checkpoint.state import LogState, RunState
from ray_mentor.run.tally import TallyState


def state_at(step: int) -> RunState:
    curriculum = CurriculumState(step, 0, None, MemorisingState(), None, None, GuardState())
    log = LogState([], TallyState(torch.zeros(1, 3, dtype=torch.float64), []), 1.0, 0.0)
    return RunState(curriculum, {}, {}, {}, log)


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
