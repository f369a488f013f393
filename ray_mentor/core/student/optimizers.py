"""The student's optimizer and learning-rate schedule, from settings."""

from __future__ import annotations

import math
from collections.abc import Iterable

import torch
from torch import nn

from ray_mentor.config import StudentConfig


def make_optimizer(params: Iterable[nn.Parameter], config: StudentConfig) -> torch.optim.Optimizer:
    """The optimizer that ``config`` names, over ``params``."""
    if config.optimizer == "sgd":
        return torch.optim.SGD(
            params,
            lr=config.learning_rate,
            momentum=config.momentum,
            nesterov=config.nesterov,
            weight_decay=config.weight_decay,
        )
    kind = torch.optim.Adam if config.optimizer == "adam" else torch.optim.AdamW
    return kind(params, lr=config.learning_rate, weight_decay=config.weight_decay)


def make_schedule(
    optimizer: torch.optim.Optimizer, schedule: str, total_steps: int
) -> torch.optim.lr_scheduler.LRScheduler:
    """η(t) = η·(1 + cos(π·t/T))/2 for ``cosine`` (Loshchilov & Hutter 2017), η for ``constant``; t in steps."""

    def factor(step: int) -> float:
        return (1 + math.cos(math.pi * min(step / total_steps, 1.0))) / 2 if schedule == "cosine" else 1.0

    return torch.optim.lr_scheduler.LambdaLR(optimizer, factor)
