"""D = ∂θ'/∂g: how an optimizer's step answers to the gradient it was given.

Every optimizer here works element by element, so D is a diagonal, held as one tensor a param. It is
read off after the real step, from the gradient and the optimizer's own state; nothing is replayed.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from ray_mentor.core.student_step import TakenStep
from ray_mentor.errors import UserError

ParamGroup = dict[str, Any]
Jacobian = Callable[[Tensor, Tensor, bool, dict[str, Any], ParamGroup], Tensor]
"""(param before the step, its gradient, whether the optimizer had state for it before the step, its
state after the step, its group) -> D of the param's shape."""


def sgd(before: Tensor, gradient: Tensor, had_state: bool, state: dict[str, Any], group: ParamGroup) -> Tensor:
    """g̃ = ±g + λθ; b' = μb + (1 − τ)g̃ (b' = g̃ on the first step); θ' = θ − η·(g̃ + μb' if Nesterov else b').

    D = ∓η·(1 + μ(1 − τ)) with Nesterov, ∓η(1 − τ) with momentum alone, ∓η without (Sutskever et al. 2013).
    """
    arriving = 1.0 if not had_state else 1.0 - group["dampening"]
    if group["momentum"] == 0:
        slope = 1.0
    else:
        slope = 1.0 + group["momentum"] * arriving if group["nesterov"] else arriving
    return torch.full_like(before, (1 if group["maximize"] else -1) * float(group["lr"]) * slope)


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
    if had_state:
        first = state["exp_avg"] / correction1
        answers = (second == state["exp_avg_sq"]).to(root.dtype)  # AMSGrad: v̂ may be an old maximum
        safe_root = torch.where(root > 0, root, 1.0)
        slope = (1 - beta1) / (correction1 * denominator) - answers * first * (1 - beta2) * effective / (
            correction2 * safe_root * denominator**2
        )
    else:
        slope = group["eps"] / denominator**2
    return torch.where(root > 0, -float(group["lr"]) * sign * slope, 0.0)


JACOBIANS: dict[type[torch.optim.Optimizer], Jacobian] = {
    torch.optim.SGD: sgd,
    torch.optim.Adam: adam,
    torch.optim.AdamW: adam,
}


def diagonal(step: TakenStep, name: str, param: Tensor, group: ParamGroup) -> Tensor:
    """D of one param.

    Args:
        step: the step that was taken.
        name: of the param.
        param: itself, as the optimizer knows it.
        group: the optimizer's group that holds it.
    """
    jacobian = JACOBIANS[type(step.optimizer)]
    had_state = step.before.optimizer[name] != {}
    return jacobian(step.before.params[name], step.applied[name], had_state, step.optimizer.state.get(param, {}), group)


def check_known(optimizer: torch.optim.Optimizer) -> None:
    """Refuses an optimizer that no mentor can learn through.

    Raises:
        UserError: naming those that work.
    """
    if type(optimizer) not in JACOBIANS:
        names = ", ".join(kind.__name__ for kind in JACOBIANS)
        raise UserError(f"optimizer is {type(optimizer).__name__}, but its step Jacobian is not known; valid: {names}")
