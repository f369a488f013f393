"""D = ∂θ'/∂g of any optimizer that works element by element, measured on its own step."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from ray_mentor.core.influence.optimizer_replay import (
    Group,
    Named,
    Replay,
    States,
    groups_of,
    step_needs_closure,
)
from ray_mentor.core.influence.taken_step import TakenStep
from ray_mentor.errors import UserError

VALID = "SGD, Adam, AdamW, Adagrad, RMSprop, and any other whose step works element by element"

Step = Callable[[Named], Named]
"""g -> θ', by param name, in float64."""

RUNGS = 6  # sizes of the difference that are tried, each a sixteenth of the last
RATIO = 16.0
AGREEMENT = 1e-2  # two sizes that differ by more, relatively, see no slope there

NUDGE = 1e-4
ANSWERS = 0.1
"""Of the elements of a group: fewer whose step sees a gradient that is larger by NUDGE have no slope but jumps."""


def numerical_diagonal(step: TakenStep, optimizer: torch.optim.Optimizer, groups: Sequence[Group]) -> Named:
    """D of every param that one of the step's optimizers moved, in its type, from that one's step in float64.

    D_j = (θ'_j(g + h) − θ'_j(g − h))/2h_j, all j at once, since no element sees another's. Each element takes the
    size h_j, out of a ladder, that agrees best with the size before it. Where no two agree within 1 % the step has no
    derivative (a jump, Adam where v̂ = 0), and D = 0.

    Args:
        groups: the optimizer's, as they were before the step.

    Raises:
        UserError: a step that mixes elements, or that its gradient, params, state and settings do not decide.
    """
    live = dict(step.student.named_parameters())
    replay, before = Replay(optimizer, live), step.before

    def take(gradients: Named) -> Named:
        return replay(groups, before.optimizer, before.params, gradients)[0]

    names = {name for group in groups for name in group.names}
    gradients = {name: gradient.double() for name, gradient in step.applied.items() if name in names}
    _require_same(step, optimizer, gradients, take(gradients), live)
    _require_elementwise(optimizer, take, gradients)
    return {name: slope.to(live[name].dtype) for name, slope in _slopes(take, gradients).items()}


def check_measurable(optimizer: torch.optim.Optimizer) -> None:
    """Takes trial steps on copies, along random gradients: one from where it stands, and one after that.

    An optimizer that measures how far params have come (Prodigy) mixes elements from its second step on alone.

    Raises:
        UserError: an optimizer whose Jacobian is no diagonal, or is 0, or whose step cannot be taken on copies, or
            writes over its gradients.
    """
    if step_needs_closure(optimizer):
        raise UserError(f"optimizer is {_name(optimizer)}, but its step needs a closure; valid: {VALID}")
    live = {str(i): param for i, param in enumerate(p for group in optimizer.param_groups for p in group["params"])}
    draw = torch.Generator().manual_seed(0)
    params = {name: param.detach() for name, param in live.items()}
    gradients = {name: _noise(param.double(), draw) for name, param in params.items()}
    states: dict[str, dict[str, Any] | None] = {name: optimizer.state.get(param, {}) for name, param in live.items()}
    groups = [_at_a_rate(group) for group in groups_of(optimizer, live)]
    replay = Replay(optimizer, live)

    def take(changed: Named) -> Named:
        return replay(groups, states, params, changed)[0]

    try:
        _require_gradients_kept(optimizer, take, gradients)
        _require_elementwise(optimizer, take, gradients)
        moved, after = replay(groups, states, params, gradients)
        _require_elementwise(optimizer, lambda changed: replay(groups, after, moved, changed)[0], gradients)
        _require_derivative(optimizer, replay, groups, states, gradients)
    except UserError:
        raise
    except Exception as error:
        raise UserError(
            f"optimizer is {_name(optimizer)}, but its step cannot be taken on copies of its params "
            f"({type(error).__name__}: {error}); valid: {VALID}"
        ) from error


def _at_a_rate(group: Group) -> Group:
    """The same with a rate, where a schedule begins with none: at 0 any step is as good as another."""
    return group if group.options.get("lr") != 0 else dataclasses.replace(group, options={**group.options, "lr": 1.0})


def _require_same(
    step: TakenStep, optimizer: torch.optim.Optimizer, stepped: Named, moved: Named, live: Mapping[str, Tensor]
) -> None:
    """The replay gave what the real step gave, up to the rounding of the params' type."""
    for name in stepped:
        real, before = live[name].detach().double(), step.before.params[name].double()
        rounding = 8 * torch.finfo(live[name].dtype).eps * before.abs().amax()
        allowed = 1e-3 * (moved[name] - before).abs().amax() + rounding
        if bool(((moved[name] - real).abs() > allowed).any()):
            raise UserError(
                f"optimizer is {_name(optimizer)}, but its step, taken again, moves {name} elsewhere: it depends "
                f"on more than gradient, params, state and settings; valid: {VALID}"
            )


def _require_gradients_kept(optimizer: torch.optim.Optimizer, take: Step, gradients: Named) -> None:
    """The step leaves them as they were, for they are read when it has been taken."""
    given = {name: gradient.clone() for name, gradient in gradients.items()}
    take(given)
    if not all(torch.equal(given[name], gradient) for name, gradient in gradients.items()):
        raise UserError(
            f"optimizer is {_name(optimizer)}, but its step writes over the gradients that it is given, from which "
            f"influences are measured; valid: {VALID}"
        )


def _require_elementwise(optimizer: torch.optim.Optimizer, take: Step, gradients: Named) -> None:
    """Changes the gradient in one random half of all elements, then in the other; the rest must not see it."""
    draw = torch.Generator().manual_seed(0)
    first = {name: (torch.rand(g.shape, generator=draw) < 0.5).to(g.device) for name, g in gradients.items()}
    noise = {name: 3 * _size(g) * _noise(g, draw) for name, g in gradients.items()}
    still = take(gradients)
    for halves in (first, {name: ~half for name, half in first.items()}):
        moved = take({name: torch.where(halves[name], g + noise[name], g) for name, g in gradients.items()})
        for name, half in halves.items():
            same = (moved[name] == still[name]) | (moved[name].isnan() & still[name].isnan())
            if not bool((same | half).all()):
                raise UserError(
                    f"optimizer is {_name(optimizer)}, but its step mixes elements: a param moves along the gradients "
                    f"of others; train what it holds with another; valid: {VALID}"
                )


def _require_derivative(
    optimizer: torch.optim.Optimizer, replay: Replay, groups: Sequence[Group], states: States, gradients: Named
) -> None:
    """A step that turns with the gradient, but is the same for one that is a little larger, has none.

    From params 0, where nothing hides a small difference, and on a second step, where no state is fresh.
    """
    origin = {name: torch.zeros_like(g) for name, g in gradients.items()}
    draw = torch.Generator().manual_seed(1)
    warm = replay(groups, states, origin, {name: _noise(g, draw) for name, g in gradients.items()})[1]

    def take(factor: float) -> Named:
        return replay(groups, warm, origin, {name: factor * g for name, g in gradients.items()})[0]

    still, nudged, turned = take(1.0), take(1.0 + NUDGE), take(-1.0)
    for group in groups:
        answers = sum(int((nudged[name] != still[name]).sum()) for name in group.names)
        turns = any(bool((turned[name] != still[name]).any()) for name in group.names)
        if turns and answers < ANSWERS * sum(still[name].numel() for name in group.names):
            raise UserError(
                f"optimizer is {_name(optimizer)}, but its step has no derivative in the gradient, as it goes by signs "
                "alone: no sample weight has an influence, and the mentor would never learn; train what it holds with "
                f"another; valid: {VALID}"
            )


def _slopes(take: Step, gradients: Named) -> Named:
    found = {name: torch.zeros_like(g) for name, g in gradients.items()}
    least = {name: torch.full_like(g, torch.inf) for name, g in gradients.items()}
    last: Named = {}
    for slopes in _ladder(take, gradients):
        for name in last:
            change = (slopes[name] - last[name]).abs()
            agreed = torch.where(change <= AGREEMENT * slopes[name].abs(), slopes[name], 0.0)
            found[name] = torch.where(change < least[name], agreed, found[name])
            least[name] = torch.fmin(change, least[name])
        last = slopes
    return found


def _ladder(take: Step, gradients: Named) -> Iterator[Named]:
    scale = {name: g.abs() + _size(g) for name, g in gradients.items()}
    for rung in range(1, RUNGS + 1):
        above = {name: g + scale[name] / RATIO**rung for name, g in gradients.items()}
        below = {name: g - scale[name] / RATIO**rung for name, g in gradients.items()}
        up, down = take(above), take(below)
        yield {name: (up[name] - down[name]) / (above[name] - below[name]) for name in gradients}


def _size(gradient: Tensor) -> Tensor:
    """The root mean square; 1 where all is 0."""
    size = gradient.square().mean().sqrt()
    return torch.where(size > 0, size, 1.0)


def _noise(like: Tensor, draw: torch.Generator) -> Tensor:
    return torch.randn(like.shape, generator=draw, dtype=like.dtype).to(like.device)


def _name(optimizer: torch.optim.Optimizer) -> str:
    return type(optimizer).__name__
