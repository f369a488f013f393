"""The weighted student step."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn

from ray_mentor.core.step.gradient_rules import AbstractGradientRule
from ray_mentor.core.step.gradient_rules.base import Gradient


def weighted_loss(
    losses: Float[Tensor, "own ..."], normalised: Float[Tensor, "own ..."], world_size: int
) -> Float[Tensor, ""]:
    """This rank's part of Σ_i ŵ_i ℓ_i over the global batch, ready for ``backward``.

    Distributed data parallel averages gradients over ranks; ŵ is normalised over the global batch, so
    the mean is turned back into the sum. Of two students it is the sum of both, who share no params.

    Args:
        losses: this rank's per-sample losses, with their graph.
        normalised: this rank's ŵ.
    """
    return world_size * (normalised * losses).sum()


def student_step(
    student: nn.Module,
    optimizers: Sequence[torch.optim.Optimizer],
    loss: Float[Tensor, ""],
    gradient_rule: AbstractGradientRule,
    meta_gradient: Callable[[], Gradient] | None,
) -> None:
    """θ' = U(θ, g), g = ∇loss, changed by the rule.

    Args:
        optimizers: U is the step of them all.
        loss: this rank's :func:`weighted_loss`.
        meta_gradient: ∇M(θ), for rules that need it. Asked for after the training backward pass: a second
            forward pass before it would change the buffers it needs.
    """
    for optimizer in optimizers:
        optimizer.zero_grad(set_to_none=True)
    loss.backward()
    train = gradient_of(student)
    for name, gradient in gradient_rule(train, meta_gradient() if meta_gradient else None).items():
        if gradient is not train[name]:
            student.get_parameter(name).grad = gradient
    for optimizer in optimizers:
        optimizer.step()


def gradient_of(student: nn.Module) -> Gradient:
    """The gradients that a backward pass left, by param name."""
    return {name: param.grad for name, param in student.named_parameters() if param.grad is not None}
