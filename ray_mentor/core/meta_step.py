"""The meta step: meta batch → meta gradient → influences."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int, Shaped
from torch import Tensor, nn

from ray_mentor.core.gradient_rules.base import Gradient
from ray_mentor.core.losses import PerSampleLoss
from ray_mentor.core.random_state import untouched
from ray_mentor.core.student_step import gradient_of


@dataclass(frozen=True)
class MetaBatch:
    """This rank's share of a meta batch.

    Attributes:
        inputs: model inputs.
        labels: trusted labels.
        size: samples of the meta batch over all ranks.
    """

    inputs: Shaped[Tensor, "own ..."]
    labels: Int[Tensor, " own"]
    size: int


def meta_gradient(
    student: nn.Module, loss: PerSampleLoss, meta: MetaBatch, world_size: int
) -> tuple[Gradient, Float[Tensor, ""]]:
    """∇M(θ'), M = the mean loss of the student, as it stands, over the global meta batch.

    An ordinary backward pass through the (data-parallel) student: the gradient arrives averaged over
    ranks, as any other. Batch norm normalises over the meta batch; its running statistics, the
    random state and the param gradients end as they began.

    Args:
        student: wrapped for data parallelism where there is more than one rank.

    Returns:
        The gradient by param name of the bare student, and this rank's part of M.
    """
    bare = unwrapped(student)
    kept_gradients = [(param, param.grad) for param in bare.parameters()]
    kept_buffers = [(buffer, buffer.detach().clone()) for buffer in bare.buffers()]
    for param, _ in kept_gradients:
        param.grad = None
    try:
        with untouched(next(bare.parameters()).device):
            share = loss(student(meta.inputs), meta.labels).sum() / meta.size
            (world_size * share).backward()
        return gradient_of(bare), share.detach()
    finally:
        for param, gradient in kept_gradients:
            param.grad = gradient
        with torch.no_grad():
            for buffer, value in kept_buffers:
                buffer.copy_(value)


def unwrapped(student: nn.Module) -> nn.Module:
    """The student without its data-parallel wrapper."""
    return student.module if isinstance(student, nn.parallel.DistributedDataParallel) else student
