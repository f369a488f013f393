"""What a layer more costs a meta step, in operators: on an accelerator each is a launch, a foreach one a few."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
import torch
from costs.step_overhead import Counting
from torch.nn import functional as F
from torch.optim import SGD, AdamW

from ray_mentor import CurriculumConfig, LearnedCurriculum, MentorConfig
from ray_mentor.students.resnet import ResNet

GUARDS = 12
"""Operators by which two mentors' steps may differ: a guard that has seen enough asks no further."""


def operators(depth: int, optimizer: Callable[..., Any], update_interval: int) -> Counter[str]:
    """Of the third step, ready to compare; of a plain loop where the interval is 0."""
    torch.manual_seed(0)
    student = ResNet(3, 4, depth=depth)
    moves = optimizer(student.parameters(), lr=0.01, foreach=True)
    inputs, labels = torch.randn(4, 3, 8, 8), torch.arange(4)
    curriculum = LearnedCurriculum(
        student, moves, (inputs, labels), total_steps=10**6, n_classes=4,
        curriculum=CurriculumConfig(burn_in=0.0), mentor=MentorConfig(update_interval=update_interval or 1),
    ) if update_interval else None  # fmt: skip
    for _ in range(3):
        with Counting() as mode:
            outputs = student(inputs)
            losses = F.cross_entropy(outputs, labels, reduction="none")
            loss = losses.mean() if curriculum is None else curriculum.weigh(losses, labels=labels, outputs=outputs)
            moves.zero_grad()
            loss.backward()
            moves.step()
            if curriculum is not None:
                curriculum.after_step()
    return mode.by_name


@pytest.mark.parametrize("optimizer", [SGD, AdamW])
def test_layers_cost_it_three_plain_steps_and_an_ordinary_step_nothing(optimizer: Callable[..., Any]) -> None:
    def of_layers(update_interval: int) -> int:
        more, fewer = (operators(depth, optimizer, update_interval) for depth in (14, 8))
        return (more - fewer).total() - (fewer - more).total() - reads(more) + reads(fewer)

    plain = of_layers(0)
    assert plain > 50
    assert of_layers(10**5) <= plain + GUARDS, "an ordinary step's bookkeeping knows nothing of layers"
    assert of_layers(1) - plain <= 3.1 * plain, "beyond the training step itself"


def reads(found: Counter[str]) -> int:
    """AdamW counts its steps on the CPU, a param each, and reads the counts: no launches."""
    return found["_local_scalar_dense"]
