"""Influences over one or more steps, by differentiating through them: the reference."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from ray_mentor.core.batch import MetaBatch
from ray_mentor.core.influence.estimators.base import AbstractEstimator
from ray_mentor.core.influence.optimizer_replay import Group, Named, Replay
from ray_mentor.core.influence.refusals import checkpointing_refused, reentrant_refused
from ray_mentor.core.influence.taken_step import TakenStep
from ray_mentor.core.losses import losses_of
from ray_mentor.core.step.gradient_rules.base import Gradient
from ray_mentor.core.student.copies import named_copies
from ray_mentor.core.student.random_state import untouched
from ray_mentor.core.student.stateless import called_with
from ray_mentor.errors import UserError

State = dict[str, dict[str, Any]]


class Unrolled(AbstractEstimator):
    """s = ∂M(θ_{k+1})/∂ε at ε = 0, by double backward through k steps of the optimizer's own code.

    θ_{j+1} = U(θ_j, g_j), where g_1 is the gradient that was applied, plus Σ_i ε_i ∇ℓ_i(θ_1), and later g_j the
    gradient that was applied, which answers to θ_j as ∇Σ_i ŵ_i ℓ_i(θ_j) of the step's (last micro-)batch does. Values
    are those of the real steps; only derivatives are made here, in float32 where the steps ran in float16, which rounds
    slopes through a small learning rate to 0. Memory and time grow with k. Each step passes through the whole batch, so
    that a choice of samples is exact under batch norm too.

    Gradients are autograd's, so it is exact through stop-gradients and surrogate gradients of every kind. One process
    only. U is PyTorch's own, with ``differentiable=True``; nothing is taken from the step Jacobians.
    """

    needs_direction = False
    whole_optimizer = True

    def check(self, student: nn.Module, optimizers: Sequence[torch.optim.Optimizer], world_size: int) -> None:
        if world_size > 1:
            raise UserError(
                f"estimator is 'unrolled', but there are {world_size} workers, and it works in one process only; give "
                "--workers 0, or another estimator: --estimator jvp"
            )
        for optimizer in optimizers:
            if not all("differentiable" in group for group in optimizer.param_groups):
                raise UserError(
                    f"estimator is 'unrolled', but {type(optimizer).__name__} knows no differentiable=True; take one "
                    "of PyTorch's that does (SGD, Adam, AdamW, NAdam, RMSprop, ...), or another estimator: --estimator "
                    "jvp"
                )
        super().check(student, optimizers, world_size)

    def __call__(
        self, steps: Sequence[TakenStep], meta: MetaBatch, direction: Gradient, chosen: Int[Tensor, " chosen"]
    ) -> Float[Tensor, " chosen"]:
        first, student = steps[0], steps[0].student
        nudges = torch.zeros_like(first.normalised, dtype=torch.float64, requires_grad=True)
        moved_ever = {name for step in steps for name in step.applied}
        params = {name: value.clone().requires_grad_(name in moved_ever) for name, value in first.before.params.items()}
        states: Any = first.before.optimizer
        reached = [step.before.params for step in steps[1:]] + [dict(student.named_parameters())]
        with torch.enable_grad(), sdpa_kernel(SDPBackend.MATH), checkpointing_refused(), reentrant_refused():
            for step, real in zip(steps, reached, strict=True):
                weights = nudges if step is first else step.normalised
                gradients = _gradients(step, params, weights)
                moved, states = _stepped(step, states, params, gradients)
                params = {name: _with_value(real[name], moved.get(name, params[name])) for name in params}
            loss = _meta_loss(steps[-1], params, meta)
            sound = _has_finite_gradient(loss, params)
            (found,) = torch.autograd.grad(loss, nudges, allow_unused=True)
        if found is None:
            raise UserError(
                "estimator is 'unrolled', but no gradient flows through the step of "
                f"{' and '.join(type(optimizer).__name__ for optimizer in first.optimizers)}; give another estimator: "
                "--estimator jvp"
            )
        return (found if sound else found.fill_(torch.nan))[chosen.to(found.device)]


def _gradients(step: TakenStep, params: Named, weights: Tensor) -> Named:
    """g, as applied, answering to ``weights`` and ``params`` as ∇Σ_i weights_i ℓ_i(params) does."""
    before = step.before
    values = {**params, **named_copies(before.buffers)}
    with untouched(step.batch.labels.device), before.precision.without_float16.again():
        before.random_state.put_back()
        losses = losses_of(called_with(step.student, values, step.batch.inputs), step.loss, step.batch)
    total = (weights.to(losses.dtype) * losses).sum()
    names = list(step.applied)
    found = torch.autograd.grad(
        total, [params[name] for name in names], create_graph=True, allow_unused=True, materialize_grads=True
    )
    nudges = dict(zip(names, found, strict=True))
    if before.clipped is not None:
        nudges = before.clipped.along(step.applied, nudges)
    return {
        name: _without_slope_where_none_is(step.applied[name] + (more - more.detach())) for name, more in nudges.items()
    }


def _without_slope_where_none_is(gradient: Tensor) -> Tensor:
    """D = 0 in elements whose step has no derivative, as Adam where v̂ = 0: there PyTorch's is not a number."""
    if gradient.requires_grad:
        gradient.register_hook(lambda slope: torch.where(slope.isfinite(), slope, 0.0))
    return gradient


def _stepped(step: TakenStep, states: State, params: Named, gradients: Named) -> tuple[Named, State]:
    live = dict(step.student.named_parameters())
    all_moved: Named = {}
    after: State = {}
    for optimizer, groups in zip(step.optimizers, step.before.groups, strict=True):
        given = _with_momentum(groups, states, params, gradients) if isinstance(optimizer, torch.optim.SGD) else states
        moved, found = Replay(optimizer, live, differentiable=True)(groups, given, params, gradients)
        all_moved |= moved
        after |= found
    return all_moved, {**states, **after}


def _with_momentum(groups: Sequence[Group], states: State, params: Named, gradients: Named) -> State:
    """PyTorch's first momentum buffer is a detached copy of g̃; (τ/μ)·g̃ before the step makes it g̃ with its graph."""
    made = dict(states)
    for group in groups:
        options = group.options
        for name in group.names:
            state = states.get(name) or {}
            if name in gradients and options["momentum"] and state.get("momentum_buffer") is None:
                sign = -1.0 if options["maximize"] else 1.0
                effective = sign * gradients[name] + options["weight_decay"] * params[name]
                made[name] = {"momentum_buffer": options["dampening"] / options["momentum"] * effective}
    return made


def _with_value(value: Tensor, carrier: Tensor) -> Tensor:
    """``value``, with the derivatives of ``carrier``."""
    carried = carrier.to(value.dtype)
    return value.detach() + (carried - carried.detach())


def _has_finite_gradient(loss: Float[Tensor, ""], params: Named) -> bool:
    """Of ∇M, on whose way back every slope that is not finite counts as 0."""
    asked = [param for param in params.values() if param.requires_grad]
    slopes = torch.autograd.grad(loss, asked, retain_graph=True, materialize_grads=True)
    return all(bool(slope.isfinite().all()) for slope in slopes)


def _meta_loss(step: TakenStep, params: Named, meta: MetaBatch) -> Tensor:
    """M of the student as it stands, answering to ``params``."""
    values = {**params, **named_copies(dict(step.student.named_buffers()))}
    with untouched(meta.labels.device), step.before.precision.without_float16.again():
        return meta.part_of_mean(step.meta_loss(called_with(step.student, values, meta.inputs), meta.labels))
