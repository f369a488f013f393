"""What a student says of a batch: a class of each sample, and how far the given one lies above all others."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from numpy.typing import NDArray
from torch import Tensor

UNSAID = -1
"""The predicted label of a sample of which the student's output says no class; its margin is NaN."""


def said_of(
    outputs: Any, labels: Int[Tensor, "batch ..."], n_classes: int = 0, *, is_pair: bool = False
) -> Float[Tensor, "batch 2"] | None:
    """Predicted label argmax_k z_k and margin z_y − max_{k ≠ y} z_k, side by side on the outputs' device, in float64.

    Of two students, and of several views of a sample, z is the logarithm of the mean of their probabilities. Where a
    label is no class of the outputs, the margin is NaN. Nothing is read by the host.

    Args:
        outputs: what the student returned; of two students (views*batch, 2, classes), else (views*batch, classes).
        labels: y, the given ones.
        n_classes: that there are, where it is known: fewer outputs are no logits.
        is_pair: whether the outputs are those of two students.

    Returns:
        None where the outputs aren't class logits, or the labels not a class each.
    """
    dimensions = _OF_A_PAIR if is_pair else _OF_ONE
    if not isinstance(outputs, Tensor) or not outputs.is_floating_point() or outputs.ndim != dimensions:
        return None
    classes = outputs.shape[-1]
    if labels.ndim != 1 or labels.is_floating_point() or classes < max(n_classes, 2):
        return None
    size = labels.shape[0]
    if not size or outputs.shape[0] % size:
        return None
    outputs = outputs.detach()
    wide = outputs if outputs.dtype in (torch.float32, torch.float64) else outputs.float()
    logits = _of_means(wide, size, is_pair=is_pair)
    if logits.is_cpu and labels.is_cpu:
        return torch.from_numpy(_on_host(logits.numpy(), labels.numpy().astype(np.int64, copy=False)))
    label = labels.to(logits.device, torch.int64)
    within = label.clamp(0, classes - 1)
    place = within[:, None]
    margin = logits.gather(1, place)[:, 0] - logits.scatter(1, place, -torch.inf).amax(dim=1)
    margin = margin.masked_fill(within != label, torch.nan)
    return torch.stack([logits.argmax(dim=1).double(), margin], dim=1)


@np.errstate(invalid="ignore", over="ignore")  # a margin of infinite logits is none
def _on_host(logits: NDArray[np.floating[Any]], labels: NDArray[np.int64]) -> NDArray[np.float64]:
    """The same, to the bit, where PyTorch's operators would cost more than what they do."""
    rows, classes = np.arange(len(labels)), logits.shape[1]
    is_within = np.maximum.reduce(labels.view(np.uint64)) < classes
    within = labels if is_within else labels.clip(0, classes - 1)
    said, others = np.empty((len(labels), 2)), logits.copy(order="F")  # whose maxima take a quarter of the time
    others[rows, within] = -np.inf
    said[:, 0] = logits.argmax(axis=1)
    said[:, 1] = logits[rows, within] - np.maximum.reduce(others, axis=1)
    if not is_within:
        said[within != labels, 1] = np.nan
    return said


_OF_ONE, _OF_A_PAIR = 2, 3


def _of_means(outputs: Tensor, size: int, *, is_pair: bool) -> Float[Tensor, "batch classes"]:
    """One row a sample, but for a constant."""
    if not is_pair and outputs.shape[0] == size:
        return outputs
    log_p = torch.log_softmax(outputs, dim=-1)
    if is_pair:
        log_p = torch.logsumexp(log_p, dim=1)
    return torch.logsumexp(log_p.reshape(-1, size, log_p.shape[1]), dim=0)


def unsaid(size: int) -> Float[Tensor, "batch 2"]:
    """In place of :func:`said_of`, where there is nothing to say."""
    return torch.tensor([[UNSAID, torch.nan]], dtype=torch.float64).repeat(size, 1)
