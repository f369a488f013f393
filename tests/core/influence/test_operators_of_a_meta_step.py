"""What a layer more costs a meta step, in operators: on an accelerator each is a launch, a foreach one a few."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch.nn import functional as F
from torch.optim import SGD, AdamW
from torch.utils._python_dispatch import TorchDispatchMode

from ray_mentor import CurriculumConfig, LearnedCurriculum, MentorConfig
from ray_mentor.students.resnet import ResNet

FREE = {
    "detach", "view", "_unsafe_view", "alias", "expand", "select", "slice", "unsqueeze", "squeeze", "transpose", "t",
    "as_strided", "unbind", "split", "permute", "is_same_size", "empty", "empty_like", "empty_strided", "new_empty",
    "new_empty_strided", "promote_types", "_fw_primal", "_make_dual", "_unpack_dual", "_has_same_storage_numel",
}  # fmt: skip


GUARDS = 12
"""Operators by which two mentors' steps may differ: a guard that has seen enough asks no further."""


class Operators(TorchDispatchMode):
    def __init__(self) -> None:
        super().__init__()
        self.found: Counter[str] = Counter()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = func.overloadpacket.__name__
        if name not in FREE:
            self.found[name] += 1
        return func(*args, **(kwargs or {}))


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
        with Operators() as mode:
            outputs = student(inputs)
            losses = F.cross_entropy(outputs, labels, reduction="none")
            loss = losses.mean() if curriculum is None else curriculum.weigh(losses, labels=labels, outputs=outputs)
            moves.zero_grad()
            loss.backward()
            moves.step()
            if curriculum is not None:
                curriculum.after_step()
    return mode.found


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
