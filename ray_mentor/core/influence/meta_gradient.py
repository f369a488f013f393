"""The meta step: meta batch → meta gradient → the direction that influences are measured along."""

from __future__ import annotations

from collections.abc import Collection

import torch
from jaxtyping import Float
from torch import Tensor, nn

from ray_mentor.core.batch import MetaBatch, outputs_of
from ray_mentor.core.exchange import AbstractExchange
from ray_mentor.core.influence.refusals import reentrant_refused
from ray_mentor.core.influence.step_jacobian import diagonals
from ray_mentor.core.influence.taken_step import TakenStep
from ray_mentor.core.losses import PerSampleLoss
from ray_mentor.core.step.gradient_rules.base import Gradient
from ray_mentor.core.student.kept_buffers import kept_buffers
from ray_mentor.core.student.precision import Precision
from ray_mentor.core.student.random_state import untouched


def meta_gradient(
    student: nn.Module,
    loss: PerSampleLoss,
    meta: MetaBatch,
    exchange: AbstractExchange,
    precision: Precision,
    names: Collection[str] | None = None,
) -> tuple[Gradient, Float[Tensor, ""]]:
    """∇M(θ'), M = the mean loss of the student, as it stands, over the global meta batch.

    An ordinary backward pass, summed over ranks. It does not pass through the data-parallel wrapper, nor through the
    params' own gradients, so nothing that hangs on a training backward pass takes part. Batch norm normalises over
    the meta batch; its running statistics and the random state end as they began.

    Args:
        student: bare, the same on every rank.
        precision: the autocast to run under.
        names: the params whose gradient is asked for; None for all.

    Returns:
        The gradient by param name, and this rank's part of M.
    """
    asked = {
        name: param
        for name, param in student.named_parameters()
        if param.requires_grad and (names is None or name in names)
    }
    with kept_buffers(student):
        with untouched(next(student.parameters()).device), torch.enable_grad(), precision.again():
            share = loss(outputs_of(student, meta.inputs), meta.labels).sum() / meta.size
        with reentrant_refused():
            gradients = torch.autograd.grad(share, list(asked.values()), materialize_grads=True) if asked else ()
    return dict(zip(asked, exchange.sum_of(list(gradients)), strict=True)), share.detach()


def step_direction(step: TakenStep, meta: Gradient) -> Gradient:
    """D·∇M(θ'), by param name; what the step did not move is absent.

    Args:
        meta: ∇M(θ').
    """
    return {name: meta[name] * slope for name, slope in diagonals(step, meta).items()}


def unwrapped(student: nn.Module) -> nn.Module:
    """The student without what wraps it for data parallelism or compilation."""
    if isinstance(student, nn.parallel.DistributedDataParallel):
        return unwrapped(student.module)
    inner = getattr(student, "_orig_mod", None)  # what torch.compile returns
    return unwrapped(inner) if isinstance(inner, nn.Module) else student
