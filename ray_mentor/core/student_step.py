"""The weighted student step, and what the meta step needs to remember of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from ray_mentor.core.gradient_rules import AbstractGradientRule
from ray_mentor.core.gradient_rules.base import Gradient
from ray_mentor.core.random_state import RandomState
from ray_mentor.core.step_jacobian import jacobian_of


@dataclass(frozen=True)
class Before:
    """The student as it was when it met the batch.

    Attributes:
        params: θ by name, copies.
        buffers: by name, copies.
        random_state: of the torch generators when the training forward began; replaying it gives
            dropout the same mask.
        stateful: names of the params for which the optimizer already had state.
    """

    params: dict[str, Tensor]
    buffers: dict[str, Tensor]
    random_state: RandomState
    stateful: frozenset[str]


def remember(student: nn.Module, optimizer: torch.optim.Optimizer) -> Before:
    """Takes down what a step is about to change; call it before the training forward."""
    return Before(
        params={name: param.detach().clone() for name, param in student.named_parameters()},
        buffers={name: buffer.detach().clone() for name, buffer in student.named_buffers()},
        random_state=RandomState.now(next(student.parameters()).device),
        stateful=frozenset(name for name, param in student.named_parameters() if optimizer.state.get(param)),
    )


def student_step(
    student: nn.Module,
    optimizer: torch.optim.Optimizer,
    losses: Float[Tensor, " own"],
    normalised: Float[Tensor, " own"],
    world_size: int,
    gradient_rule: AbstractGradientRule,
    meta_gradient: Callable[[], Gradient] | None,
) -> None:
    """θ' = U(θ, g), g = ∇ Σ_i ŵ_i ℓ_i(θ) over the global batch.

    Distributed data parallel averages gradients over ranks; ŵ is normalised over the global batch, so
    the mean is turned back into the sum that g is.

    Args:
        losses: this rank's per-sample losses, with their graph.
        normalised: this rank's ŵ.
        meta_gradient: ∇M(θ), for rules that need it. Asked for after the training backward pass: a second
            forward pass before it would change the buffers it needs, and take its all-reduce away.
    """
    optimizer.zero_grad(set_to_none=True)
    (world_size * (normalised * losses).sum()).backward()
    train = gradient_of(student)
    for name, gradient in gradient_rule(train, meta_gradient() if meta_gradient else None).items():
        if gradient is not train[name]:
            student.get_parameter(name).grad = gradient
    optimizer.step()


def gradient_of(student: nn.Module) -> Gradient:
    """The gradients that a backward pass left, by param name."""
    return {name: param.grad for name, param in student.named_parameters() if param.grad is not None}


def step_direction(
    student: nn.Module, optimizer: torch.optim.Optimizer, before: Before, applied: Gradient, meta: Gradient
) -> dict[str, Tensor]:
    """D·∇M(θ'), by param name; what the step did not move is absent.

    Args:
        applied: the gradients that the optimizer was given.
        meta: ∇M(θ').
    """
    jacobian = jacobian_of(optimizer)
    names = {id(param): name for name, param in student.named_parameters()}
    moved = [
        (names[id(param)], param, group)
        for group in optimizer.param_groups
        for param in group["params"]
        if id(param) in names and names[id(param)] in applied and names[id(param)] in meta
    ]
    return {
        name: meta[name]
        * jacobian(before.params[name], applied[name], name in before.stateful, optimizer.state.get(param, {}), group)
        for name, param, group in moved
    }
