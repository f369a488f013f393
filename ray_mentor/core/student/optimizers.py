"""The student's optimizer and learning-rate schedule, from settings."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import torch
from torch import nn

from ray_mentor.config import StudentConfig

Params = Iterable[nn.Parameter] | Iterable[dict[str, Any]]
"""What an optimizer is made of."""


def make_optimizer(params: Params, config: StudentConfig) -> torch.optim.Optimizer:
    """The optimizer that ``config`` names, over ``params``, or over groups of them with settings of their own."""
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
    optimizer: torch.optim.Optimizer, schedule: str, total_steps: int, warm_up: float = 0.0
) -> torch.optim.lr_scheduler.LRScheduler:
    """η(t) = η·(t + 1)/W in the W steps of warm-up (Goyal et al. 2017); then, t counted from there to the end at T,
    η·(1 + cos(π·t/T))/2 for ``cosine`` (Loshchilov & Hutter 2017), η for ``constant``. Every param group's η.

    Args:
        warm_up: W, from 1 on, or below 1 its share of all steps.
    """
    rising = round(warm_up * total_steps if warm_up < 1 else warm_up)
    rest = max(1, total_steps - rising)

    def factor(step: int) -> float:
        if step < rising:
            return (step + 1) / rising
        return (1 + math.cos(math.pi * min((step - rising) / rest, 1.0))) / 2 if schedule == "cosine" else 1.0

    return torch.optim.lr_scheduler.LambdaLR(optimizer, factor)
