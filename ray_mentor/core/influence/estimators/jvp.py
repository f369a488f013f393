"""All influences of a batch from one forward-mode pass."""

from __future__ import annotations

import re
import traceback
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.autograd import forward_ad
from torch.nn.attention import SDPBackend, sdpa_kernel

from ray_mentor.core.batch import MetaBatch
from ray_mentor.core.influence.estimators.base import AbstractEstimator
from ray_mentor.core.influence.taken_step import TakenStep
from ray_mentor.core.losses import losses_of
from ray_mentor.core.step.gradient_rules.base import Gradient
from ray_mentor.core.student.random_state import untouched
from ray_mentor.core.student.stateless import called_with
from ray_mentor.errors import UserError


class ForwardMode(AbstractEstimator):
    """s = ∂ℓ(θ + t·direction)/∂t at t = 0: the tangent of the per-sample losses. Exact.

    Costs about two plain forward passes, keeps no graph, and carries every coupling between samples
    (batch norm) along. Attention runs on its plain kernel: the fused ones have no forward mode.

    Raises:
        UserError: a student that uses an operator without forward mode.
    """

    def __init__(self, look_ahead: int = 1) -> None:
        super().__init__(look_ahead)
        _load_formulas()

    @torch.no_grad()
    def __call__(
        self, steps: Sequence[TakenStep], meta: MetaBatch, direction: Gradient, chosen: Int[Tensor, " chosen"]
    ) -> Float[Tensor, " chosen"]:
        (step,) = steps
        before, batch = step.before, step.batch[chosen]
        buffers = {name: buffer.clone() for name, buffer in before.buffers.items()}
        with (
            untouched(batch.labels.device),
            before.precision.again(),
            forward_ad.dual_level(),
            sdpa_kernel(SDPBackend.MATH),
            _operators_named(),
        ):
            before.random_state.put_back()
            params = {
                name: forward_ad.make_dual(param, direction[name]) if name in direction else param
                for name, param in before.params.items()
            }
            outputs = called_with(step.student, {**params, **buffers}, batch.inputs)
            losses, tangent = forward_ad.unpack_dual(losses_of(outputs, step.loss, batch))
        return torch.zeros_like(losses) if tangent is None else tangent


def _load_formulas() -> None:
    """PyTorch compiles its own forward-mode formulas on first use, and warns of itself."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="`torch.jit.script", category=FutureWarning)
        warnings.filterwarnings("ignore", message="`torch.jit.script", category=DeprecationWarning)
        with forward_ad.dual_level():
            forward_ad.make_dual(torch.zeros(1), torch.zeros(1))


@contextmanager
def _operators_named() -> Iterator[None]:
    """Says which operator has no forward mode, and what to do.

    Raises:
        UserError: in place of PyTorch's NotImplementedError.
    """
    try:
        yield
    except NotImplementedError as error:
        raise UserError(
            f"estimator is 'jvp', but the student uses {_operator(error)}, which has no forward mode; give another: "
            "estimator='finite_difference', on the command line --estimator finite_difference"
        ) from error


def _operator(error: NotImplementedError) -> str:
    """The operator as PyTorch's message names it, or the custom function, which it does not name."""
    named = re.search(r"forward AD with (\S+)", str(error))
    if named:
        return named.group(1)
    functions = [
        frame.f_locals["self"]._forward_cls.__name__
        for frame, _ in traceback.walk_tb(error.__traceback__)
        if frame.f_code.co_name == "apply_jvp"
    ]
    return f"{functions[-1]} (a torch.autograd.Function without jvp)" if functions else f"an operator ({error})"
