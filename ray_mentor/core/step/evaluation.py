"""How a student does on held-out samples, in evaluation mode."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import torch
from jaxtyping import Bool, Float, Int, Shaped
from torch import Tensor, nn

from ray_mentor.core.exchange import AbstractExchange
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


@torch.no_grad()
def losses_on(
    student: nn.Module, loss: PerSampleLoss, batches: Batches, exchange: AbstractExchange
) -> Float[Tensor, " samples"]:
    """ℓ of each sample, over all ranks in their order, in float64 in the host's memory. A collective call.

    Args:
        batches: this rank's.
    """
    device = next(student.parameters()).device
    own = [torch.zeros(0, dtype=torch.float64)]
    with evaluating(student), untouched(device):
        for inputs, labels in batches:
            own.append(loss(student(inputs.to(device)), labels.to(device)).double().cpu())
    return exchange.gather_any(torch.cat(own)[:, None])[:, 0]


@torch.no_grad()
def losses_by_label(
    student: nn.Module, loss: PerSampleLoss, batches: Batches, n_classes: int, exchange: AbstractExchange
) -> Float[Tensor, "samples classes+1"]:
    """The loss of each sample under each label, and behind them its own label, over all ranks, in float64.

    A collective call.

    Args:
        batches: this rank's.
    """
    device = next(student.parameters()).device
    found = [torch.zeros(0, n_classes + 1, dtype=torch.float64)]
    with evaluating(student), untouched(device):
        for inputs, labels in batches:
            outputs = student(inputs.to(device))
            under = [loss(outputs, torch.full_like(labels, k).to(device)).double().cpu() for k in range(n_classes)]
            found.append(torch.stack([*under, labels.double().cpu()], dim=1))
    return exchange.gather_any(torch.cat(found))


@torch.no_grad()
def predicted_by_class(
    student: nn.Module, batches: Batches, n_classes: int, exchange: AbstractExchange
) -> Float[Tensor, "classes classes+1"]:
    """Σ softmax(z) over the samples of each class, and behind it how many these are, over all ranks, in float64.

    A collective call; the same bits on every rank.

    Args:
        batches: this rank's.
    """
    device = next(student.parameters()).device
    table = torch.zeros(n_classes, n_classes + 1, dtype=torch.float64)
    with evaluating(student), untouched(device):
        for inputs, labels in batches:
            p = torch.softmax(student(inputs.to(device)).double(), dim=1).cpu()
            table.index_add_(0, labels.cpu(), torch.cat([p, torch.ones(len(p), 1, dtype=p.dtype)], dim=1))
    whole = exchange.gather(table, (n_classes,) * exchange.world_size)
    return whole.view(exchange.world_size, n_classes, n_classes + 1).sum(0)


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
