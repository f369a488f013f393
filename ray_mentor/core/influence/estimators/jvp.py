"""All influences of a batch from one forward-mode pass."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.autograd import forward_ad
from torch.nn.attention import SDPBackend, sdpa_kernel

from ray_mentor.core.batch import MetaBatch
from ray_mentor.core.influence.estimators.base import AbstractEstimator, passed
from ray_mentor.core.influence.estimators.tangents import tangents_where_gradients_flow
from ray_mentor.core.influence.refusals import hooks_refused, operators_named
from ray_mentor.core.influence.taken_step import TakenStep
from ray_mentor.core.losses import losses_of
from ray_mentor.core.step.gradient_rules.base import Gradient
from ray_mentor.core.student.copies import named_copies
from ray_mentor.core.student.random_state import untouched
from ray_mentor.core.student.stateless import called_with


class ForwardMode(AbstractEstimator):
    """s = ∂ℓ(θ + t·direction)/∂t at t = 0: the tangent of the per-sample losses. Exact.

    The derivative is the one that the backward pass has: none through ``detach`` and ``torch.no_grad()``, and that of
    ``jvp`` through a torch.autograd.Function. Hooks that change a gradient are seen in a backward pass alone, not here.

    Costs about two plain forward passes, keeps no graph, and carries every coupling between samples (batch norm) along.
    Attention runs on its plain kernel: the fused ones have no forward mode.

    Raises:
        UserError: a student that uses an operator, or a function of its own, without forward mode.
    """

    def __init__(self, look_ahead: int = 1) -> None:
        super().__init__(look_ahead)
        self._scales = False
        _load_formulas()

    def __call__(
        self, steps: Sequence[TakenStep], meta: MetaBatch, direction: Gradient, chosen: Int[Tensor, " chosen"]
    ) -> Float[Tensor, " chosen"]:
        (step,) = steps
        if not self._scales:
            found, self._scales = self._tangent(step, direction, chosen)
            if not self._scales:
                return found
        scale = size_of(direction)
        scaled = {name: part / scale for name, part in direction.items()}
        found = scale * self._tangent(step, scaled, chosen)[0]
        self.said = self.said and (self.said[0], scale * self.said[1])
        return found

    def _tangent(
        self, step: TakenStep, direction: Gradient, chosen: Int[Tensor, " chosen"]
    ) -> tuple[Float[Tensor, " chosen"], bool]:
        """The losses' tangent, and whether anything in it was of so short a range that the direction's size matters."""
        before = step.before
        batch, rows = passed(step.batch, chosen)
        buffers = named_copies(before.buffers)
        with (
            untouched(batch.labels.device),
            before.precision.again(),
            forward_ad.dual_level(),
            sdpa_kernel(SDPBackend.MATH),
            operators_named(),
            hooks_refused("jvp"),
            tangents_where_gradients_flow() as seen,
        ):
            before.random_state.put_back()
            params = {
                name: forward_ad.make_dual(param, direction[name]) if name in direction else param
                for name, param in before.params.items()
            }
            outputs = called_with(step.student, {**params, **buffers}, batch.inputs)
            losses, tangent = forward_ad.unpack_dual(losses_of(outputs, step.loss, batch))
            self.said = _unpacked(outputs)
        found = torch.zeros_like(losses) if tangent is None else tangent.detach()
        return found[rows], seen.float16


def _unpacked(outputs: Any) -> tuple[Tensor, Tensor] | None:
    """What the student returned, and its tangent, where both are tensors."""
    if not isinstance(outputs, Tensor):
        return None
    primal, tangent = forward_ad.unpack_dual(outputs)
    return None if tangent is None else (primal.detach(), tangent.detach())


def size_of(direction: Gradient) -> float:
    """A power of two within n^¼ of its largest element, n the number of elements; 1 if that is 0, or not finite.

    s is linear in the direction. At the end of a schedule that is so small that float16 would round it to 0. Between
    ‖d‖/√n and ‖d‖, where the largest lies; it alone is asked for only where the squares leave float32's range.
    """
    elements = list(direction.values())
    if not elements:
        return 1.0
    size = _norm(elements, 2) / sum(element.numel() for element in elements) ** 0.25
    if not 1e-18 < size < 1e18:
        size = _norm(elements, math.inf)
    return math.ldexp(1.0, math.frexp(size)[1]) if math.isfinite(size) and size > 0 else 1.0


def _norm(elements: list[Tensor], order: float) -> float:
    return float(torch.linalg.vector_norm(torch.stack(torch._foreach_norm(elements, order)), order))


def _load_formulas() -> None:
    """PyTorch compiles its own forward-mode formulas on first use, and warns of itself."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="`torch.jit.script", category=FutureWarning)
        warnings.filterwarnings("ignore", message="`torch.jit.script", category=DeprecationWarning)
        with forward_ad.dual_level():
            forward_ad.make_dual(torch.zeros(1), torch.zeros(1))
