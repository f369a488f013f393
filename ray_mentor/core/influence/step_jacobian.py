"""D = ∂θ'/∂g: how an optimizer's step answers to the gradient it was given.

Every optimizer here works element by element, so D is a diagonal, held as one tensor a param, to be read alone. That of
PyTorch's common optimizers is read off after the real step, from the gradient and the optimizer's own state; any
other's is measured, by replaying its step.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ray_mentor.core.influence.chunks import in_chunks
from ray_mentor.core.influence.numerical_jacobian import check_measurable, numerical_diagonal
from ray_mentor.core.influence.optimizer_replay import Group
from ray_mentor.core.influence.taken_step import TakenStep
from ray_mentor.core.step.gradient_rules.base import Gradient
from ray_mentor.errors import UserError

ParamGroup = dict[str, Any]
Slopes = Sequence[Tensor] | Sequence[float]
"""D of each param: of its shape, or one number for all its elements."""


@dataclass(frozen=True)
class Moved:
    """Params of one group that a step moved, side by side: on an accelerator each operator is a launch.

    Attributes:
        before: θ.
        gradients: g.
        had_state: whether the optimizer had state for it before the step.
        states: after the step.
        group: the settings.
    """

    before: list[Tensor]
    gradients: list[Tensor]
    had_state: list[bool]
    states: list[dict[str, Any]]
    group: ParamGroup

    def __getitem__(self, places: Sequence[int]) -> Moved:
        return Moved(
            [self.before[place] for place in places],
            [self.gradients[place] for place in places],
            [self.had_state[place] for place in places],
            [self.states[place] for place in places],
            self.group,
        )

    def of(self, name: str) -> list[Tensor]:
        """What the states have under a name."""
        return [state[name] for state in self.states]


Jacobian = Callable[[Moved], Slopes]


def sgd(moved: Moved) -> Slopes:
    """g̃ = ±g + λθ; b' = μb + (1 − τ)g̃ (b' = g̃ on the first step); θ' = θ − η·(g̃ + μb' if Nesterov else b').

    D = ∓η·(1 + μ(1 − τ)) with Nesterov, ∓η(1 − τ) with momentum alone, ∓η without (Sutskever et al. 2013).
    """
    group = moved.group
    rate = (1 if group["maximize"] else -1) * float(group["lr"])

    def slope(had_state: bool) -> float:
        arriving = 1.0 if not had_state else 1.0 - group["dampening"]
        if group["momentum"] == 0:
            return rate
        return rate * (1.0 + group["momentum"] * arriving if group["nesterov"] else arriving)

    return [slope(had_state) for had_state in moved.had_state]


def adam(moved: Moved) -> Slopes:
    """θ' = θ − η·m̂/(√v̂ + ε), m' = β1·m + (1 − β1)g̃, v' = β2·v + (1 − β2)g̃², g̃ = ±g + λθ (Kingma & Ba 2015).

    D = ∓η·[ (1 − β1)/(c1·n) − m̂·(1 − β2)·g̃/(c2·√v̂·n²) ], n = √v̂ + ε, c_j = 1 − β_j^t. On the first step
    θ' = θ − η·g̃/(|g̃| + ε), and the bracket is ε/n²: a small difference of large terms, written out so that
    float32 does not return its rounding. Where v̂ = 0 the step has no derivative in g; there g̃ = 0 and the
    one-sided slope ∓η(1 − β1)/(c1·ε) is not a local linear model of any step of finite size, so D = 0 is used.
    """
    steps = [float(count) for count in torch.stack(moved.of("step")).tolist()]  # one read: they may be on a device
    # whether a step is a param's first is not whether it had state: one that a gradient scaler skips makes state
    later = [place for place, step in enumerate(steps) if step > 1]
    first = [place for place, step in enumerate(steps) if step <= 1]
    found: dict[int, Tensor] = {}
    for places, bracket in ((later, _later_bracket), (first, _first_bracket)):
        if places:
            taken = [steps[place] for place in places]
            found |= zip(places, _adam_slopes(moved[places], taken, bracket), strict=True)
    return [found[place] for place in range(len(steps))]


Bracket = Callable[[Moved, list[float], list[Tensor], list[Tensor], list[float]], list[Tensor]]
"""(params, their steps t, √v̂ with 1 where that is 0, n, c2) -> what stands in brackets."""


def _adam_slopes(moved: Moved, steps: list[float], bracket: Bracket) -> list[Tensor]:
    group = moved.group
    correction2 = [1 - float(group["betas"][1]) ** step for step in steps]
    root = torch._foreach_div(moved.of("max_exp_avg_sq" if group["amsgrad"] else "exp_avg_sq"), correction2)
    torch._foreach_sqrt_(root)
    moves = torch._foreach_sign(root)  # 1, and 0 where the step has no derivative
    absent = torch._foreach_neg(moves)
    torch._foreach_add_(absent, 1.0)
    torch._foreach_add_(root, absent)
    slopes = bracket(moved, steps, list(root), list(torch._foreach_add(root, group["eps"])), correction2)
    torch._foreach_mul_(slopes, float(group["lr"]) if group["maximize"] else -float(group["lr"]))
    torch._foreach_mul_(slopes, moves)
    return slopes


def _first_bracket(
    moved: Moved, steps: list[float], root: list[Tensor], n: list[Tensor], correction2: list[float]
) -> list[Tensor]:
    found = torch._foreach_mul(n, n)
    torch._foreach_reciprocal_(found)
    torch._foreach_mul_(found, moved.group["eps"])
    return list(found)


def _later_bracket(
    moved: Moved, steps: list[float], root: list[Tensor], n: list[Tensor], correction2: list[float]
) -> list[Tensor]:
    group = moved.group
    beta1, beta2 = (float(beta) for beta in group["betas"])
    correction1 = [1 - beta1**step for step in steps]
    turning = torch._foreach_div(moved.of("exp_avg"), correction1)
    if group["amsgrad"]:  # v̂ may be an old maximum, which does not answer
        new = zip(moved.of("max_exp_avg_sq"), moved.of("exp_avg_sq"), strict=True)
        torch._foreach_mul_(turning, [(most == last).to(last.dtype) for most, last in new])
    torch._foreach_mul_(turning, 1 - beta2)
    torch._foreach_mul_(turning, effective_gradient(moved))
    below = torch._foreach_mul(root, correction2)
    torch._foreach_mul_(below, torch._foreach_mul(n, n))
    torch._foreach_div_(turning, below)
    straight = torch._foreach_mul(n, correction1)
    torch._foreach_reciprocal_(straight)
    torch._foreach_mul_(straight, 1 - beta1)
    torch._foreach_sub_(straight, turning)
    return list(straight)


def effective_gradient(moved: Moved) -> list[Tensor]:
    """g̃ = ±g + λθ; without λθ where the decay is decoupled."""
    group = moved.group
    effective = torch._foreach_neg(moved.gradients) if group["maximize"] else moved.gradients
    decay = 0.0 if group.get("decoupled_weight_decay", False) else group["weight_decay"]
    return list(torch._foreach_add(effective, torch._foreach_mul(moved.before, decay)) if decay else effective)


def adagrad(before: Tensor, gradient: Tensor, state: dict[str, Any], group: ParamGroup) -> Tensor:
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


def rmsprop(before: Tensor, gradient: Tensor, state: dict[str, Any], group: ParamGroup) -> Tensor:
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


def one_by_one(jacobian: Callable[[Tensor, Tensor, dict[str, Any], ParamGroup], Tensor]) -> Jacobian:
    """Of one that is written for one param: (θ, g, its state after the step, the group's settings) -> D."""

    def each(moved: Moved) -> Slopes:
        params = zip(moved.before, moved.gradients, moved.states, strict=True)
        return [jacobian(before, gradient, state, moved.group) for before, gradient, state in params]

    return each


JACOBIANS: dict[type[torch.optim.Optimizer], Jacobian] = {
    torch.optim.SGD: sgd,
    torch.optim.Adam: adam,
    torch.optim.AdamW: adam,
    torch.optim.Adagrad: one_by_one(adagrad),
    torch.optim.RMSprop: one_by_one(rmsprop),
}


def is_closed_form(optimizer: torch.optim.Optimizer) -> bool:
    """Whether D is known as a formula. A subclass may step otherwise, so it is not."""
    return type(optimizer) in JACOBIANS


def diagonals(step: TakenStep, names: Collection[str]) -> dict[str, Tensor | float]:
    """D by param name, of those ``names`` that the step moved.

    Raises:
        UserError: an optimizer without a formula whose step mixes elements.
    """
    if not names:
        return {}
    found: dict[str, Tensor | float] = {}
    for optimizer, groups in zip(step.optimizers, step.before.groups, strict=True):
        if is_closed_form(optimizer):
            found |= _by_formula(step, optimizer, groups, names)
        else:
            measured = numerical_diagonal(step, optimizer, groups)
            found |= {name: slope for name, slope in measured.items() if name in names}
    return found


def times_diagonals(step: TakenStep, gradient: Gradient) -> Gradient:
    """D·gradient by param name; what the step did not move is absent."""
    slopes = diagonals(step, gradient)
    found: Gradient = {}
    for kind in (float, Tensor):
        some: dict[str, Any] = {name: slope for name, slope in slopes.items() if isinstance(slope, kind)}
        if some:
            products = torch._foreach_mul([gradient[name] for name in some], list(some.values()))
            found |= zip(some, products, strict=True)
    return {name: found[name] for name in slopes}


def _by_formula(
    step: TakenStep, optimizer: torch.optim.Optimizer, groups: Sequence[Group], names: Collection[str]
) -> dict[str, Tensor | float]:
    jacobian, before = JACOBIANS[type(optimizer)], step.before
    live = dict(step.student.named_parameters())
    found: dict[str, Tensor | float] = {}
    for group in groups:
        asked = [name for name in group.names if name in step.applied and name in names]
        for some in in_chunks(asked, lambda name: live[name].numel()):
            moved = Moved(
                [before.params[name] for name in some],
                [step.applied[name] for name in some],
                [before.optimizer[name] != {} for name in some],
                [optimizer.state.get(live[name], {}) for name in some],
                group.options,
            )
            found |= zip(some, jacobian(moved), strict=True)
    return found


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
