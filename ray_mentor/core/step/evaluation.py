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
def hits(student: nn.Module, batches: Batches) -> Bool[Tensor, " samples"] | None:
    """Which samples the student gives their label, in the host's memory; None if its outputs are no logits."""
    device = next(student.parameters()).device
    found = [torch.zeros(0, dtype=torch.bool)]
    with evaluating(student):
        for inputs, labels in batches:
            outputs = student(inputs.to(device))
            if not isinstance(outputs, Tensor) or outputs.ndim != 2 or outputs.shape[1] < 2:
                return None
            found.append((outputs.argmax(dim=1) == labels.to(device)).cpu())
    return torch.cat(found)


@torch.no_grad()
def gives_probabilities(student: nn.Module, inputs: Shaped[Tensor, "batch ..."]) -> bool:
    """Whether the student's outputs look like those of a softmax: of each sample in [0, 1], with the sum 1."""
    device = next(student.parameters()).device
    with evaluating(student), untouched(device):
        outputs = student(inputs.to(device))
    if not isinstance(outputs, Tensor) or outputs.ndim != 2 or outputs.shape[1] < 2:
        return False
    sums = outputs.float().sum(dim=1)
    return bool(((outputs >= 0) & (outputs <= 1)).all() and torch.allclose(sums, torch.ones_like(sums), atol=1e-3))


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
