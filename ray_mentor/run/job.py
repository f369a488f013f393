"""What a worker is told: everything that a run is made of, in one picklable piece."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from ray_mentor.config import CurriculumConfig, MentorConfig, RunSettings, TrainConfig
from ray_mentor.config.meaning import with_loss_named
from ray_mentor.core.losses import PerSampleLoss
from ray_mentor.core.mentor.learner import MentorState
from ray_mentor.core.methods.planned import planned
from ray_mentor.core.student.optimizers import Params
from ray_mentor.data.plan.order import AbstractOrder
from ray_mentor.data.samples.augment import UNCHANGED, Augment
from ray_mentor.data.splits.splits import Splits
from ray_mentor.run.directory import RunDirectory
from ray_mentor.run.progress import Board
from ray_mentor.students.weights import Start

MakeOptimizer = Callable[[Params], torch.optim.Optimizer]


@dataclass(frozen=True)
class Job:
    """A run, as each of its workers gets it.

    Attributes:
        config: its settings. Of the group ``data`` those alone that say how samples are shown (``augment``,
            ``hold_on_device``): the data are here; likewise the student and its optimizer.
        student: builds a fresh student.
        start: what it begins with, or a reference to where that lies in Ray's object store; None: as it is built.
        reference: what the model begins, and ends, with that a mixture measures losses by; None: there is none.
        optimizer: builds the student's optimizer over its trainable params.
        splits: the data, or a reference to where it lies in Ray's object store.
        order: in which an epoch goes through the training samples.
        loss: the user's own per-sample loss; None for the method's.
        directory: of the run.
        settings: the content of its config file.
        data: which samples ``splits`` holds, by the name of the split (:mod:`~ray_mentor.data.samples.identity`).
        owner: the driver that has taken it up; empty: whoever runs the job does.
        local: the run is one process without Ray, and holds its mentor itself.
        board: takes progress rows.
        augment: what training images are shown as.
        mentor_start: what the mentor is when the run begins; None: a fresh one.
        mentor_actor: a handle of the mentor that all workers share; None for methods without a learning mentor, and
            where the mentor is local.
        gate: where the run waits at the end of each epoch; None: it does not.
        callbacks: told of each epoch, and of the student, where Ray tells nobody; None where it does.
    """

    config: TrainConfig
    student: Callable[[], nn.Module]
    optimizer: MakeOptimizer
    splits: Splits | Any
    order: AbstractOrder
    loss: PerSampleLoss | None
    directory: RunDirectory
    settings: bytes
    data: dict[str, str]
    local: bool
    board: Board
    augment: Augment = UNCHANGED
    mentor_start: MentorState | None = None
    mentor_actor: Any = None
    gate: Any = None
    start: Start | Any = None
    reference: Start | None = None
    owner: str = ""
    callbacks: Any = None

    @property
    def curriculum(self) -> CurriculumConfig:
        """The method, and the schedule around it."""
        return self.config.curriculum

    @property
    def mentor(self) -> MentorConfig:
        """The mentor, and how it learns."""
        return self.config.mentor

    @property
    def run(self) -> RunSettings:
        """How long, how wide, and how it survives."""
        return self.config.run


def settled(config: TrainConfig, total_steps: int) -> TrainConfig:
    """With numbers for what follows from how long the run is, and the loss that goes with an imbalance, where they are
    not given.

    Args:
        total_steps: of the run.
    """
    config = with_loss_named(config)
    curriculum, mentor = planned(config.curriculum, config.mentor, total_steps, config.run.epochs)
    return dataclasses.replace(config, curriculum=curriculum, mentor=mentor)
