"""The meta step: meta batch → meta gradient → the direction that influences are measured along."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator
from contextlib import contextmanager

import torch
from jaxtyping import Float
from torch import Tensor, nn

from ray_mentor.core.batch import Arguments, Batch, Inputs, MetaBatch, outputs_of
from ray_mentor.core.exchange import AbstractExchange
from ray_mentor.core.influence.refusals import reentrant_refused
from ray_mentor.core.influence.step_jacobian import times_diagonals
from ray_mentor.core.influence.taken_step import TakenStep
from ray_mentor.core.losses import PerSampleLoss
from ray_mentor.core.step.gradient_rules.base import Gradient
from ray_mentor.core.student.kept_buffers import kept_buffers, kept_embeddings
from ray_mentor.core.student.precision import Precision
from ray_mentor.core.student.random_state import untouched
from ray_mentor.errors import UserError


def meta_gradient(
    student: nn.Module,
    loss: PerSampleLoss,
    meta: MetaBatch,
    exchange: AbstractExchange,
    precision: Precision,
    names: Collection[str] | None = None,
) -> tuple[Gradient, Float[Tensor, ""]]:
    """∇M(θ'), M = the (weighted) mean loss of the student, as it stands, over the global meta batch.

    An ordinary backward pass, summed over ranks. It does not pass through the data-parallel wrapper, nor through the
    params' own gradients, so nothing that hangs on a training backward pass takes part. Batch norm normalises over
    the meta batch; its running statistics and the random state end as they began. Under float16 the backward pass is
    scaled, and taken again with a scale 4096 times smaller where that overflows.

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

    def taken(shift: int) -> tuple[tuple[Tensor, ...], Float[Tensor, ""]]:
        with kept_buffers(student):
            with untouched(next(student.parameters()).device), torch.enable_grad(), precision.again():
                share = meta.part_of_mean(loss(outputs_of(student, meta.inputs), meta.labels))
            if not asked:
                return (), share.detach()
            scale = 2.0 ** (_exponent(float(share.detach())) - shift) if in_float16 else 1.0
            with reentrant_refused():
                found = torch.autograd.grad(scale * share, list(asked.values()), materialize_grads=True)
        return torch._foreach_div(found, scale) if in_float16 else found, share.detach()

    in_float16 = precision.autocast == torch.float16
    with kept_embeddings(student):
        gradients, share = taken(0)
        if in_float16 and not all(bool(gradient.isfinite().all()) for gradient in gradients):
            gradients, share = taken(12)
    return dict(zip(asked, exchange.sum_of(list(gradients)), strict=True)), share


def _exponent(share: float) -> int:
    """Of a power of two near 2^10/√M: with it the slopes of a small M, which float16 rounds to 0, are of middling size.

    They lie between M (cross-entropy of sure predictions) and √M (squared errors).
    """
    return round(10 - math.log2(min(max(abs(share), 2**-24), 2**24)) / 2) if math.isfinite(share) else 0


def step_direction(step: TakenStep, meta: Gradient) -> Gradient:
    """D·∇M(θ'), by param name; what the step did not move is absent. D is the optimizer's, after the clipping's.

    Args:
        meta: ∇M(θ').
    """
    direction, clipped = times_diagonals(step, meta), step.before.clipped
    return direction if clipped is None else clipped.along(step.applied, direction)


@contextmanager
def types_explained(meta: MetaBatch, batch: Batch) -> Iterator[None]:
    """Says so where a student fails on a meta batch because its numbers are of another type than a batch's.

    Raises:
        UserError: in place of PyTorch's RuntimeError.
    """
    try:
        yield
    except RuntimeError as error:
        found, own = (_float_types(inputs) for inputs in (meta.inputs, batch.inputs))
        if found == own:
            raise
        raise UserError(
            f"the student can't be called with the meta set's inputs, which are {found}, where those of its batches "
            f"are {own}; give the meta set as {own} ({type(error).__name__}: {error})"
        ) from error


def _float_types(inputs: Inputs) -> str:
    found: list[str] = []

    def note(tensor: Tensor) -> Tensor:
        if tensor.is_floating_point() and str(tensor.dtype) not in found:
            found.append(str(tensor.dtype))
        return tensor

    Arguments((inputs,), {}).each(note)
    return " and ".join(found) or "of whole numbers"


def unwrapped(student: nn.Module) -> nn.Module:
    """The student without what wraps it for data parallelism or compilation."""
    if isinstance(student, nn.parallel.DistributedDataParallel):
        return unwrapped(student.module)
    inner = getattr(student, "_orig_mod", None)  # what torch.compile returns
    return unwrapped(inner) if isinstance(inner, nn.Module) else student
