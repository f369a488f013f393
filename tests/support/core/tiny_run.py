"""A curriculum small enough to follow by hand: a linear student, five samples, no mentor unless one is given."""

from __future__ import annotations

import dataclasses
from typing import Any

import torch
from torch import Tensor, nn

from ray_mentor.config import CurriculumConfig, MentorConfig
from ray_mentor.core.batch import Batch, MetaBatch
from ray_mentor.core.curriculum import Curriculum
from ray_mentor.core.exchange import Alone
from ray_mentor.core.losses import cross_entropy
from ray_mentor.core.methods.mixing import NoMixing
from ray_mentor.core.methods.parts import Parts
from ray_mentor.core.methods.weightings import Uniform
from ray_mentor.core.step.features import Features
from ray_mentor.core.step.gradient_rules import Identity
from ray_mentor.core.step.observation import Observation


def batch_of(n: int = 5, seed: int = 0, true_labels: bool = True, dtype: torch.dtype = torch.float32) -> Batch:
    draw = torch.Generator().manual_seed(seed)
    labels = torch.randint(3, (n,), generator=draw)
    return Batch(
        rows=torch.arange(n),
        ids=100 + torch.arange(n),
        inputs=torch.randn(n, 4, generator=draw, dtype=dtype),
        labels=labels,
        true_labels=labels.where(torch.arange(n) % 2 == 0, (labels + 1) % 3) if true_labels else None,
    )


def student_of(dtype: torch.dtype = torch.float32) -> nn.Module:
    torch.manual_seed(3)
    return nn.Linear(4, 3).to(dtype)


def curriculum_of(
    student: nn.Module,
    optimizer: torch.optim.Optimizer | None = None,
    *,
    config: MentorConfig | None = None,
    schedule: CurriculumConfig | None = None,
    total_steps: int = 4,
    **parts: Any,
) -> Curriculum:
    meta = batch_of(6, seed=9, dtype=next(student.parameters()).dtype)
    default = Parts(
        loss=cross_entropy,
        meta_loss=cross_entropy,
        weighting=Uniform(),
        mixing=NoMixing(),
        gradient_rule=Identity(),
        mentor=None,
        meta_batch=lambda _: MetaBatch(meta.inputs, meta.labels, len(meta)),
    )
    return Curriculum(
        student,
        optimizer or torch.optim.SGD(student.parameters(), lr=0.1),
        dataclasses.replace(default, **parts),
        Alone(),
        schedule or CurriculumConfig(),
        config or MentorConfig(update_interval=1),
        total_steps=total_steps,
        n_samples=20,
        seed=0,
        n_classes=3,
    )


def observation_of(losses: Tensor, differences: Tensor | None = None, clean: Tensor | None = None) -> Observation:
    n = len(losses)
    zero = torch.zeros(n)
    features = Features(losses, zero if differences is None else differences, torch.arange(n), zero, torch.zeros(n, 0))
    truth = None if clean is None else features.label.where(clean, -1)
    return Observation(batch_of(n), losses, features, torch.arange(n), truth, (n,), slice(0, n))
