"""How a student does on held-out samples, in evaluation mode."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import torch
from jaxtyping import Bool, Int, Shaped
from torch import Tensor, nn

from ray_mentor.core.losses import PerSampleLoss
from ray_mentor.core.student.random_state import untouched

Batches = Iterable[tuple[Shaped[Tensor, "batch ..."], Int[Tensor, " batch"]]]
"""(inputs, labels), on any device."""


@torch.no_grad()
def hits(student: nn.Module, batches: Batches) -> Bool[Tensor, " samples"]:
    """Which samples the student gives their label; in the host's memory."""
    device = next(student.parameters()).device
    with evaluating(student):
        found = [(student(inputs.to(device)).argmax(dim=1) == labels.to(device)).cpu() for inputs, labels in batches]
    return torch.cat(found) if found else torch.zeros(0, dtype=torch.bool)


@torch.no_grad()
def total_loss(student: nn.Module, loss: PerSampleLoss, batches: Batches) -> float:
    """The sum of a per-sample loss."""
    device = next(student.parameters()).device
    with evaluating(student), untouched(device):
        return sum(
            float(loss(student(inputs.to(device)), labels.to(device)).double().sum()) for inputs, labels in batches
        )


@contextmanager
def evaluating(student: nn.Module) -> Iterator[None]:
    """Evaluation mode for a block; each module's own mode is put back."""
    modes = [(module, module.training) for module in student.modules()]
    student.eval()
    try:
        yield
    finally:
        for module, mode in modes:
            module.training = mode
