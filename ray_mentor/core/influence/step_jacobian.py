"""D = ∂θ'/∂g: how an optimizer's step answers to the gradient it was given.

Every optimizer here works element by element, so D is a diagonal, held as one tensor a param, to be read alone. That of
PyTorch's common optimizers is read off after the real step, from the gradient and the optimizer's own state; any
other's is measured, by replaying its step.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import Any

import torch
from torch import Tensor

from ray_mentor.core.influence.numerical_jacobian import check_measurable, numerical_diagonal
from ray_mentor.core.influence.optimizer_replay import Group
from ray_mentor.core.influence.taken_step import TakenStep
from ray_mentor.errors import UserError

ParamGroup = dict[str, Any]
Jacobian = Callable[[Tensor, Tensor, bool, dict[str, Any], ParamGroup], Tensor]
"""(param before the step, its gradient, whether the optimizer had state for it before the step, its
state after the step, the settings of its group) -> D of the param's shape."""


def sgd(before: Tensor, gradient: Tensor, had_state: bool, state: dict[str, Any], group: ParamGroup) -> Tensor:
    """g̃ = ±g + λθ; b' = μb + (1 − τ)g̃ (b' = g̃ on the first step); θ' = θ − η·(g̃ + μb' if Nesterov else b').

    D = ∓η·(1 + μ(1 − τ)) with Nesterov, ∓η(1 − τ) with momentum alone, ∓η without (Sutskever et al. 2013).
    """
    arriving = 1.0 if not had_state else 1.0 - group["dampening"]
    if group["momentum"] == 0:
        slope = 1.0
    else:
        slope = 1.0 + group["momentum"] * arriving if group["nesterov"] else arriving
    return before.new_full((), (1 if group["maximize"] else -1) * float(group["lr"]) * slope).expand_as(before)


def adam(before: Tensor, gradient: Tensor, had_state: bool, state: dict[str, Any], group: ParamGroup) -> Tensor:
    """θ' = θ − η·m̂/(√v̂ + ε), m' = β1·m + (1 − β1)g̃, v' = β2·v + (1 − β2)g̃², g̃ = ±g + λθ (Kingma & Ba 2015).

    D = ∓η·[ (1 − β1)/(c1·n) − m̂·(1 − β2)·g̃/(c2·√v̂·n²) ], n = √v̂ + ε, c_j = 1 − β_j^t. On the first step
    θ' = θ − η·g̃/(|g̃| + ε), and the bracket is ε/n²: a small difference of large terms, written out so that
    float32 does not return its rounding. Where v̂ = 0 the step has no derivative in g; there g̃ = 0 and the
    one-sided slope ∓η(1 − β1)/(c1·ε) is not a local linear model of any step of finite size, so D = 0 is used.
    """
    beta1, beta2 = (float(beta) for beta in group["betas"])
    step = float(state["step"])
    correction1, correction2 = 1 - beta1**step, 1 - beta2**step
    sign = -1.0 if group["maximize"] else 1.0
    effective = (
        sign * gradient + (0.0 if group.get("decoupled_weight_decay", False) else group["weight_decay"]) * before
    )
    second = state["max_exp_avg_sq"] if group["amsgrad"] else state["exp_avg_sq"]
    root = (second / correction2).sqrt()
    denominator = root + group["eps"]
    if step > 1:  # and not whether it had state: a step that a gradient scaler skips makes state, and leaves it at 0
        first = state["exp_avg"] / correction1
        answers = (second == state["exp_avg_sq"]).to(root.dtype)  # AMSGrad: v̂ may be an old maximum
        safe_root = torch.where(root > 0, root, 1.0)
        slope = (1 - beta1) / (correction1 * denominator) - answers * first * (1 - beta2) * effective / (
            correction2 * safe_root * denominator**2
        )
    else:
        slope = group["eps"] / denominator**2
    return torch.where(root > 0, -float(group["lr"]) * sign * slope, 0.0)


def adagrad(before: Tensor, gradient: Tensor, had_state: bool, state: dict[str, Any], group: ParamGroup) -> Tensor:
    """θ' = θ − η_t·g̃/(√s' + ε), s' = s + g̃², g̃ = ±g + λθ, η_t = η/(1 + (t − 1)·decay) (Duchi et al. 2011).

    D = ∓η_t·(s/√s' + ε)/(√s' + ε)². On the first step s is what the user set (0), and not the difference s' − g̃²,
    of which float32 would return its rounding. Where s' = 0 the step has no derivative, and D = 0.
    """
    sign = -1.0 if group["maximize"] else 1.0
    step = float(state["step"])
    effective = sign * gradient + group["weight_decay"] * before
    root = state["sum"].sqrt()
    if step == 1:
        earlier = torch.full_like(root, group["initial_accumulator_value"])
    else:
        earlier = (state["sum"] - effective.square()).clamp(min=0)
    rate = float(group["lr"]) / (1 + (step - 1) * group["lr_decay"])
    slope = (earlier / torch.where(root > 0, root, 1.0) + group["eps"]) / (root + group["eps"]) ** 2
    return torch.where(root > 0, -rate * sign * slope, 0.0)


def rmsprop(before: Tensor, gradient: Tensor, had_state: bool, state: dict[str, Any], group: ParamGroup) -> Tensor:
    """θ' = θ − η·b', b' = μb + g̃/n, n = √(v' − a'²) + ε, v' = αv + (1 − α)g̃², g̃ = ±g + λθ (Tieleman & Hinton 2012).

    a' = αa + (1 − α)g̃ if centered, else 0. D = ∓η·[ 1/n − (1 − α)·g̃·(g̃ − a')/(√(v' − a'²)·n²) ]. On the first step
    the root is proportional to |g̃|, and the bracket is ε/n². Where the root is 0 the step has no derivative, and D = 0.
    """
    sign = -1.0 if group["maximize"] else 1.0
    effective = sign * gradient + group["weight_decay"] * before
    mean = state["grad_avg"] if group["centered"] else torch.zeros_like(effective)
    root = (state["square_avg"] - mean.square()).sqrt()
    denominator = root + group["eps"]
    if float(state["step"]) > 1:
        safe_root = torch.where(root > 0, root, 1.0)
        slope = 1 / denominator - (1 - group["alpha"]) * effective * (effective - mean) / (safe_root * denominator**2)
    else:
        slope = group["eps"] / denominator**2
    return torch.where(root > 0, -float(group["lr"]) * sign * slope, 0.0)


JACOBIANS: dict[type[torch.optim.Optimizer], Jacobian] = {
    torch.optim.SGD: sgd,
    torch.optim.Adam: adam,
    torch.optim.AdamW: adam,
    torch.optim.Adagrad: adagrad,
    torch.optim.RMSprop: rmsprop,
}


def is_closed_form(optimizer: torch.optim.Optimizer) -> bool:
    """Whether D is known as a formula. A subclass may step otherwise, so it is not."""
    return type(optimizer) in JACOBIANS


def diagonals(step: TakenStep, names: Collection[str]) -> dict[str, Tensor]:
    """D by param name, of those ``names`` that the step moved.

    Raises:
        UserError: an optimizer without a formula whose step mixes elements.
    """
    if not names:
        return {}
    found: dict[str, Tensor] = {}
    for optimizer, groups in zip(step.optimizers, step.before.groups, strict=True):
        if is_closed_form(optimizer):
            found |= _by_formula(step, optimizer, groups, names)
        else:
            measured = numerical_diagonal(step, optimizer, groups)
            found |= {name: slope for name, slope in measured.items() if name in names}
    return found


def _by_formula(
    step: TakenStep, optimizer: torch.optim.Optimizer, groups: Sequence[Group], names: Collection[str]
) -> dict[str, Tensor]:
    jacobian, before = JACOBIANS[type(optimizer)], step.before
    live = dict(step.student.named_parameters())
    return {
        name: jacobian(
            before.params[name],
            step.applied[name],
            before.optimizer[name] != {},
            optimizer.state.get(live[name], {}),
            group.options,
        )
        for group in groups
        for name in group.names
        if name in step.applied and name in names
    }


def check_optimizer(optimizer: torch.optim.Optimizer) -> None:
    """Refuses an optimizer that no mentor can learn through, before its first step.

    Raises:
        UserError: naming those that work.
    """
    complex_ones = sum(param.is_complex() for group in optimizer.param_groups for param in group["params"])
    if complex_ones and type(optimizer) is not torch.optim.SGD:
        raise UserError(
            f"optimizer is {type(optimizer).__name__}, and {complex_ones} of its params "
            f"{'is' if complex_ones == 1 else 'are'} complex, which influences can be measured through with SGD alone; "
            "give SGD, or hold each of them as two real params"
        )
    if not is_closed_form(optimizer):
        check_measurable(optimizer)
