"""What a worker is told: everything that a run is made of, in one picklable piece."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from ray_mentor.config import CurriculumConfig, MentorConfig
from ray_mentor.core.losses import PerSampleLoss
from ray_mentor.data.plan.order import AbstractOrder
from ray_mentor.data.splits.splits import Splits
from ray_mentor.run.progress import Board

MakeOptimizer = Callable[[Iterable[nn.Parameter]], torch.optim.Optimizer]


@dataclass(frozen=True)
class Job:
    """A run, as each of its workers gets it.

    Attributes:
        student: builds a fresh student.
        optimizer: builds the student's optimizer over its trainable params.
        schedule: cosine or constant.
        precision: of the student's passes, float32 or bf16.
        channels_last: whether the student's params are kept so in memory.
        hold_on_device: whether the training inputs are kept in the memory of the student's device.
        splits: the data, or a reference to where it lies in Ray's object store.
        order: in which an epoch goes through the training samples.
        augment: none or flip-shift.
        loss: the user's own per-sample loss; None for the method's.
        mentor_actor: a handle of the mentor that all workers share; None for methods without a learning mentor, and
            where the mentor is local.
        board: takes progress rows.
        directory: of the run.
        checkpoint_seconds: between checkpoints.
        checkpoint_steps: between checkpoints; 0: by the seconds alone.
        keep_checkpoints: how many.
        hang_seconds: after which a silent mentor counts as dead.
        gate: where the run waits at the end of each epoch; None: it does not.
        local: the run is one process without Ray, and holds its mentor itself.
    """

    student: Callable[[], nn.Module]
    optimizer: MakeOptimizer
    schedule: str
    sync_batch_norm: bool
    precision: str
    channels_last: bool
    hold_on_device: bool
    splits: Splits | Any
    order: AbstractOrder
    augment: str
    loss: PerSampleLoss | None
    curriculum: CurriculumConfig
    mentor: MentorConfig
    mentor_actor: Any
    board: Board
    directory: str
    epochs: int
    batch_size: int
    seed: int
    checkpoint_seconds: float
    checkpoint_steps: int
    keep_checkpoints: int
    hang_seconds: float
    local: bool
    gate: Any = None
