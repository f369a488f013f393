"""All influences of a batch from one forward-mode pass."""

from __future__ import annotations

import warnings

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.autograd import forward_ad
from torch.func import functional_call
from torch.nn.attention import SDPBackend, sdpa_kernel

from ray_mentor.core.batch import Batch
from ray_mentor.core.estimators.base import AbstractEstimator
from ray_mentor.core.losses import PerSampleLoss, losses_of
from ray_mentor.core.random_state import untouched
from ray_mentor.core.student_step import Before


class ForwardMode(AbstractEstimator):
    """s = ∂ℓ(θ + t·direction)/∂t at t = 0: the tangent of the per-sample losses. Exact.

    Costs about two plain forward passes, keeps no graph, and carries every coupling between samples
    (batch norm) along. Attention runs on its plain kernel: the fused ones have no forward mode.
    """

    def __init__(self) -> None:
        with (
            warnings.catch_warnings()
        ):  # torch compiles its own forward-mode formulas on first use, and warns of itself
            warnings.filterwarnings("ignore", message="`torch.jit.script", category=FutureWarning)
            warnings.filterwarnings("ignore", message="`torch.jit.script", category=DeprecationWarning)
            with forward_ad.dual_level():
                forward_ad.make_dual(torch.zeros(1), torch.zeros(1))

    @torch.no_grad()
    def __call__(
        self, student: nn.Module, loss: PerSampleLoss, batch: Batch, before: Before, direction: dict[str, Tensor]
    ) -> Float[Tensor, " batch"]:
        device = next(student.parameters()).device
        buffers = {name: buffer.clone() for name, buffer in before.buffers.items()}
        with untouched(device), forward_ad.dual_level(), sdpa_kernel(SDPBackend.MATH):
            before.random_state.put_back()
            params = {
                name: forward_ad.make_dual(param, direction[name]) if name in direction else param
                for name, param in before.params.items()
            }
            logits = _call(student, {**params, **buffers}, batch.inputs)
            losses, tangent = forward_ad.unpack_dual(losses_of(logits, loss, batch))
        return torch.zeros_like(losses) if tangent is None else tangent


def _call(student: nn.Module, values: dict[str, Tensor], inputs: Tensor) -> Tensor:
    """The student's outputs with ``values`` in place of its params and buffers.

    Every place that holds a tensor is named once, and tied ones get the same value. PyTorch's own tying
    names a module that sits in two places twice, and then leaves ``values`` in it for good.
    """
    tensors = [*student.named_parameters(), *student.named_buffers()]
    names = {id(tensor): name for name, tensor in tensors}
    places = {
        f"{module_name}.{name}".lstrip("."): values[names[id(tensor)]]
        for module_name, module in student.named_modules()
        for members in (module.named_parameters, module.named_buffers)
        for name, tensor in members(recurse=False, remove_duplicate=False)
    }
    outputs: Tensor = functional_call(student, places, (inputs,), tie_weights=False)
    return outputs
