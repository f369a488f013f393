"""A student step that was taken, and what must be remembered of the student so that one can look back on it."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from ray_mentor.core.batch import Batch
from ray_mentor.core.influence.heard import Heard
from ray_mentor.core.influence.heard_gradient import HeardGradient
from ray_mentor.core.influence.optimizer_replay import Group, groups_of
from ray_mentor.core.losses import PerSampleLoss
from ray_mentor.core.step.gradient_rules.base import Gradient
from ray_mentor.core.step.student_step import Clipped, gradient_of
from ray_mentor.core.student.copies import named_copies
from ray_mentor.core.student.precision import Precision
from ray_mentor.core.student.random_state import RandomState
from ray_mentor.errors import UserError


@dataclass(frozen=True)
class Before:
    """The student and its optimizer as they were when they met the batch.

    Attributes:
        params: θ by name, copies.
        buffers: by name, copies.
        random_state: of the torch generators when the training forward began; replaying it gives
            dropout the same mask.
        precision: the autocast it ran under.
        optimizer: the optimizer's state by param name, copies; empty for a param that had none. Of optimizers whose
            Jacobian needs no more than that, None stands for a param's state.
        groups: of each optimizer that steps, its groups with their settings.
        owned: names of the params that are in an optimizer, whether it steps or not.
        heard: what the student's head does in the forward pass that comes, for estimators that listen.
        gradient: what the backward pass from the weighed loss makes; None where nobody asks.
        clipped: by which factor the step's gradient was clipped, where the curriculum did it.
    """

    params: dict[str, Tensor]
    buffers: dict[str, Tensor]
    random_state: RandomState
    precision: Precision
    optimizer: dict[str, dict[str, Any] | None]
    groups: tuple[tuple[Group, ...], ...]
    owned: frozenset[str]
    heard: Heard | None = None
    gradient: HeardGradient | None = None
    clipped: Clipped | None = None

    def follow(self, loss: Tensor) -> None:
        """The backward pass that comes is from this loss, of the training forward that is over."""
        self.stop_listening()
        if self.gradient is not None:
            self.gradient.follow(loss)

    def stop_listening(self) -> None:
        """The training forward is over; call it before any other."""
        if self.heard is not None:
            self.heard.stop()

    def forget(self) -> None:
        """Frees what the backward pass made, and hears no more."""
        if self.gradient is not None:
            self.gradient.forget()

    def with_steps(self, stepped: Mapping[int, tuple[Group, ...]]) -> Before:
        """The same before a step that the optimizers of these places took alone: the others' params did not move.

        Args:
            stepped: by place, groups with the settings that the step was taken with, which may have been set since.
        """
        return dataclasses.replace(self, groups=tuple(stepped.get(place, ()) for place in range(len(self.groups))))


def remember(
    student: nn.Module,
    optimizers: Sequence[torch.optim.Optimizer],
    *,
    whole_optimizer: bool,
    heard: Heard | None = None,
    gradient: HeardGradient | None = None,
) -> Before:
    """Takes down what a step is about to change; call it before the training forward.

    Args:
        optimizers: each of which moves params of its own.
        whole_optimizer: copy the optimizers' state, instead of only noting whether there is one.
        heard: listens to the forward pass that comes.
        gradient: will listen to its backward pass.
    """
    live = dict(student.named_parameters())
    device = next(iter(live.values())).device
    groups = tuple(groups_of(optimizer, live) for optimizer in optimizers)
    return Before(
        params=named_copies(live),
        buffers=named_copies(dict(student.named_buffers())),
        random_state=RandomState.now(device),
        precision=Precision.now(device),
        optimizer={
            name: (copy.deepcopy(state) if whole_optimizer else None) if state else {}
            for name, param in live.items()
            for state in [state_of(param, optimizers)]
        },
        groups=groups,
        owned=frozenset(name for each in groups for group in each for name in group.names),
        heard=heard,
        gradient=gradient,
    )


@dataclass(frozen=True)
class TakenStep:
    """A student step that was taken: θ' = U(θ, g), g = ∇Σ_i ŵ_i ℓ_i(θ). All of it on this rank.

    Attributes:
        student: bare, as it is after the step.
        optimizers: with their state after the step; U is the step of them all.
        loss: the per-sample loss.
        meta_loss: the per-sample loss whose mean over the meta batch is M.
        batch: the samples, as the student saw them.
        normalised: ŵ of the samples.
        before: student and optimizer before the step.
        applied: g, as the optimizer was given it: over all ranks, accumulated, clipped.
    """

    student: nn.Module
    optimizers: tuple[torch.optim.Optimizer, ...]
    loss: PerSampleLoss
    meta_loss: PerSampleLoss
    batch: Batch
    normalised: Float[Tensor, " own"]
    before: Before
    applied: Gradient


def state_of(param: Tensor, optimizers: Sequence[torch.optim.Optimizer]) -> dict[str, Any]:
    """What the optimizer that moves a param keeps for it; empty where there is nothing yet."""
    return next((optimizer.state[param] for optimizer in optimizers if param in optimizer.state), {})


def dense_gradient_of(student: nn.Module) -> Gradient:
    """As :func:`gradient_of`.

    Raises:
        UserError: a sparse one, which no step Jacobian is made for.
    """
    gradients = gradient_of(student)
    for name, gradient in gradients.items():
        if gradient.layout != torch.strided:
            raise UserError(
                f"the gradient of {name} is sparse, but influences are measured along dense ones; give its embedding "
                "sparse=False"
            )
    return gradients
