"""A job that a test takes apart by itself, without Ray Train."""

from __future__ import annotations

import functools
from typing import Any

import pytest
import torch
from torch import nn

from ray_mentor.config import CurriculumConfig, MentorConfig, TrainConfig
from ray_mentor.core.exchange import Alone
from ray_mentor.data import Splits
from ray_mentor.data.plan.order import Shuffled
from ray_mentor.run.directory import RunDirectory
from ray_mentor.run.job import Job
from ray_mentor.run.progress import ProgressBoard
from ray_mentor.students import MLP


@pytest.fixture
def outside_of_ray_train(monkeypatch: pytest.MonkeyPatch) -> None:
    """Which alone may prepare a student."""

    def make_student(job: Job, _: Alone) -> nn.Module:
        torch.manual_seed(job.run.seed)
        return job.student()

    monkeypatch.setattr("ray_mentor.on_ray.train.assemble.make_student", make_student)


def job_of(splits: Splits, mentor: dict[str, Any], method: str = "mentornet") -> Job:
    config = TrainConfig().changed(
        schedule="constant",
        curriculum=CurriculumConfig(method=method, burn_in=0.0, meta_in_training=0.5),
        mentor=MentorConfig(**{"update_interval": 1, "meta_batch_size": 20, "mentor_hidden": (8,), **mentor}),
    )
    return Job(
        config=config,
        student=functools.partial(_student, 8, 3),
        optimizer=functools.partial(torch.optim.SGD, lr=0.05, momentum=0.9),
        splits=splits,
        order=Shuffled(len(splits.train)),
        loss=None,
        directory=RunDirectory("mock:///run"),
        settings=b"",
        data={},
        local=True,
        board=ProgressBoard(),
    )


def _student(n_inputs: int, n_classes: int) -> nn.Module:
    return nn.Sequential(MLP(n_inputs, 16, (16,)), nn.BatchNorm1d(16), nn.Dropout(0.3), nn.Linear(16, n_classes))
