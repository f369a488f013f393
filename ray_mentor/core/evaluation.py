"""Accuracy on held-out samples."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from jaxtyping import Int, Shaped
from torch import Tensor, nn


@torch.no_grad()
def count_correct(
    student: nn.Module, batches: Iterable[tuple[Shaped[Tensor, "batch ..."], Int[Tensor, " batch"]]]
) -> int:
    """How many samples the student, in evaluation mode, gives their label; its mode is put back."""
    was_training = student.training
    device = next(student.parameters()).device
    student.eval()
    correct = sum(
        int((student(inputs.to(device)).argmax(dim=1) == labels.to(device)).sum()) for inputs, labels in batches
    )
    student.train(was_training)
    return correct
