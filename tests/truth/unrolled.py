"""The truth that influences are held against: the student's step written out as a function, and differentiated.

Nothing here is taken from the package. The steps follow the formulas of the optimizers' documentation.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd import grad
from torch.func import functional_call
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.functional import log_softmax

Named = dict[str, Tensor]


def cross_entropies(logits: Tensor, labels: Tensor) -> Tensor:
    return -log_softmax(logits, dim=1)[torch.arange(len(labels)), labels]


def sgd_step(param: Tensor, gradient: Tensor, state: dict[str, Any], group: dict[str, Any]) -> Tensor:
    step = (-gradient if group["maximize"] else gradient) + group["weight_decay"] * param
    if group["momentum"]:
        if "momentum_buffer" in state:
            buffer = group["momentum"] * state["momentum_buffer"] + (1 - group["dampening"]) * step
        else:
            buffer = step
        step = step + group["momentum"] * buffer if group["nesterov"] else buffer
    return param - group["lr"] * step


def adam_step(param: Tensor, gradient: Tensor, state: dict[str, Any], group: dict[str, Any], decoupled: bool) -> Tensor:
    beta1, beta2 = group["betas"]
    t = int(state.get("step", 0)) + 1
    if group["maximize"]:
        gradient = -gradient
    kept = param * (1 - group["lr"] * group["weight_decay"]) if decoupled else param
    if not decoupled:
        gradient = gradient + group["weight_decay"] * param
    if t == 1:  # g/(|g| + ε), in a form whose derivative ε/(|g| + ε)² does not cancel
        return kept - group["lr"] * gradient.sign() * (1 - group["eps"] / (gradient.abs() + group["eps"]))
    first = beta1 * state["exp_avg"] + (1 - beta1) * gradient
    second = beta2 * state["exp_avg_sq"] + (1 - beta2) * gradient**2
    if group["amsgrad"]:
        second = torch.maximum(state["max_exp_avg_sq"], second)
    return kept - group["lr"] * (first / (1 - beta1**t)) / ((second / (1 - beta2**t)).sqrt() + group["eps"])


def step_of(optimizer: torch.optim.Optimizer) -> Any:
    if isinstance(optimizer, torch.optim.SGD):
        return sgd_step
    decoupled = isinstance(optimizer, torch.optim.AdamW)
    return lambda param, gradient, state, group: adam_step(param, gradient, state, group, decoupled)


@dataclass(frozen=True)
class Snapshot:
    """Student, optimizer and random state before a step; all copies."""

    params: Named
    buffers: Named
    states: dict[str, dict[str, Any]]
    groups: dict[str, dict[str, Any]]
    random_state: Tensor

    @staticmethod
    def of(student: nn.Module, optimizer: torch.optim.Optimizer) -> Snapshot:
        names = {param: name for name, param in student.named_parameters()}
        return Snapshot(
            params={name: p.detach().clone().requires_grad_(p.requires_grad) for name, p in student.named_parameters()},
            buffers={name: b.clone() for name, b in student.named_buffers()},
            states={
                names[param]: {key: torch.as_tensor(value).clone() for key, value in state.items()}
                for param, state in optimizer.state.items()
                if state
            },
            groups={
                names[param]: {key: value for key, value in group.items() if key != "params"}
                for group in optimizer.param_groups
                for param in group["params"]
            },
            random_state=torch.get_rng_state(),
        )


@dataclass(frozen=True)
class Unrolled:
    """A step that gradients flow through, from the normalised weights to the meta loss."""

    losses: Tensor
    params: Named
    meta_loss: Tensor


def unrolled_step(
    student: nn.Module,
    optimizer: torch.optim.Optimizer,
    before: Snapshot,
    batch: tuple[Tensor, Tensor],
    normalised: Tensor,
    meta: tuple[Tensor, Tensor],
    clip: float = 0.0,
) -> Unrolled:
    """θ' = U(θ, ∇Σ ŵ_i ℓ_i(θ)) and M(θ'), with their graph; the student itself stays as it is.

    Args:
        clip: largest norm of the gradient; 0: any.
    """
    now = torch.get_rng_state()
    torch.set_rng_state(before.random_state)
    with sdpa_kernel(SDPBackend.MATH):  # the fused attention kernels have no second derivative
        losses = cross_entropies(_call(student, before, before.params, batch[0]), batch[1])
        names = [name for name in before.groups if before.params[name].requires_grad]
        gradients = grad((normalised * losses).sum(), [before.params[name] for name in names], create_graph=True)
        if clip:
            norm = torch.cat([gradient.flatten() for gradient in gradients]).norm()
            gradients = tuple(gradient * (clip / (norm + 1e-6)).clamp(max=1.0) for gradient in gradients)
        step = step_of(optimizer)
        moved = {
            name: step(before.params[name], gradient, before.states.get(name, {}), before.groups[name])
            for name, gradient in zip(names, gradients, strict=True)
        }
        params = {**before.params, **moved}
        meta_loss = cross_entropies(_call(student, before, params, meta[0]), meta[1]).mean()
    torch.set_rng_state(now)
    return Unrolled(losses.detach(), params, meta_loss)


def _call(student: nn.Module, before: Snapshot, params: Named, inputs: Tensor) -> Tensor:
    buffers = {name: buffer.clone() for name, buffer in before.buffers.items()}
    # a copy: PyTorch leaves the last values in modules that sit in two places
    return functional_call(copy.deepcopy(student), {**params, **buffers}, (inputs,))
