"""The weighted student step."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from ray_mentor.core.step.gradient_rules import AbstractGradientRule
from ray_mentor.core.step.gradient_rules.base import Gradient
from ray_mentor.core.student.pair import members_of


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
    total = (normalised * losses).sum()
    return world_size * total if world_size > 1 else total


def student_step(
    student: nn.Module,
    optimizers: Sequence[torch.optim.Optimizer],
    loss: Float[Tensor, ""],
    gradient_rule: AbstractGradientRule,
    meta_gradient: Callable[[], Gradient] | None,
    clip: float = 0.0,
    check: Callable[[], None] = lambda: None,
) -> Clipped | None:
    """θ' = U(θ, g), g = ∇loss, changed by the rule, then clipped.

    Args:
        optimizers: U is the step of them all.
        loss: this rank's :func:`weighted_loss`.
        meta_gradient: ∇M(θ), for rules that need it. Asked for after the training backward pass: a second
            forward pass before it would change the buffers it needs.
        clip: largest norm of g; 0: any. Of two students each one's.
        check: called once the device has all the work up to g, before anything of the student changes; may raise.

    Returns:
        What was clipped of a single student's gradient; None where nothing was.
    """
    for optimizer in optimizers:
        optimizer.zero_grad(set_to_none=True)
    loss.backward()
    train = gradient_of(student)
    for name, gradient in gradient_rule(train, meta_gradient() if meta_gradient else None).items():
        if gradient is not train[name]:
            student.get_parameter(name).grad = gradient
    parts = members_of(student).values() or (student,)
    check()
    norms = [nn.utils.clip_grad_norm_(part.parameters(), clip) for part in parts] if clip else []
    for optimizer in optimizers:
        optimizer.step()
    return Clipped(norms[0], clip) if len(norms) == 1 else None


@dataclass(frozen=True)
class Clipped:
    """g' = c·g with c = min(1, m/(‖g‖ + 10⁻⁶)), as ``torch.nn.utils.clip_grad_norm_`` has it (Pascanu et al. 2013).

    Attributes:
        norm: ‖g‖, on the device, which nobody waits for unless the step is looked back on.
        most: m.
    """

    norm: Tensor
    most: float

    @functools.cached_property
    def factor(self) -> float:
        """C."""
        return min(1.0, self.most / (float(self.norm) + _BESIDE))

    def along(self, applied: Gradient, direction: Gradient) -> Gradient:
        """(∂g'/∂g)·direction = c·(d − g'·⟨g', d⟩/(m·‖g'‖)), where c < 1; the matrix is symmetric.

        Args:
            applied: g', by param name.
            direction: d; a name that is absent counts as 0.
        """
        if self.factor >= 1 or not direction:
            return direction
        names = [name for name in direction if name in applied]
        norm = torch.stack(torch._foreach_norm(list(applied.values()))).norm()
        inner = torch.stack([(applied[name].conj() * direction[name]).real.sum() for name in names]).sum()
        share = inner / (self.most * norm) if norm > 0 else 0.0
        return {
            name: self.factor * (part - share * applied[name] if name in applied else part)
            for name, part in direction.items()
        }


_BESIDE = 1e-6  # what PyTorch adds to the norm


def gradient_of(student: nn.Module) -> Gradient:
    """The gradients that a backward pass left, by param name."""
    return {name: param.grad for name, param in student.named_parameters() if param.grad is not None}
