"""∂M(θ')/∂h of what the optimizer's step is set to, from the meta gradient and the step that was taken: no pass."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from ray_mentor.core.influence.chunks import in_chunks
from ray_mentor.core.influence.step_jacobian import JACOBIANS, Moved, effective_gradient
from ray_mentor.core.influence.taken_step import TakenStep
from ray_mentor.core.step.gradient_rules.base import Gradient

Vector = Float[Tensor, " n"]
Slopes = dict[str, Float[Tensor, ""]]
"""∂M/∂h by setting, in float64 on the student's device."""


def optimizer_hypergradients(step: TakenStep, gradient: Gradient) -> Slopes:
    """⟨∇M(θ'), ∂θ'/∂h⟩ of the settings h that the step has: how M would have changed with them, to first order.

    ``log_learning_rate`` (a factor e^h on all rates: ⟨∇M, θ' − θ⟩), ``weight_decay``, ``momentum``, ``beta1``,
    ``beta2``; of this one step, what earlier ones would have been otherwise is not in it. A setting that several groups
    or optimizers have is changed in all of them at once. Only of optimizers whose step is known as a formula
    (:data:`~ray_mentor.core.influence.step_jacobian.JACOBIANS`), and only of momentum and betas above 0.

    Before batch norm, weight decay's signal in one step says nothing of its own: scale invariance gives ⟨∇M(θ'), θ'⟩ =
    0, so that ⟨∇M, θ⟩ = −⟨∇M, θ' − θ⟩, the learning rate's.

    Args:
        gradient: ∇M(θ') by param name, over all ranks.
    """
    found: Slopes = {}
    for moved, meta in _alike(step, gradient):
        for name, slope in FORMULAS[moved.kind](moved, meta).items():
            found[name] = found[name] + slope if name in found else slope
    return found


@dataclass(frozen=True)
class Flat:
    """Params of one group that a step moved alike, end to end, in float64.

    Attributes:
        kind: the optimizer's type.
        before: θ.
        effective: g̃ = ±g + λθ; without λθ where the decay is decoupled.
        slope: ∂θ'/∂g̃, found when it is asked for; one number where it is the same for all elements.
        steps: t, this one counted; None where the optimizer doesn't count.
        is_first: whether the optimizer had no state for them.
        states: after the step, by name.
        group: the settings.
    """

    kind: type[torch.optim.Optimizer]
    before: Vector
    effective: Vector
    slope: Callable[[], Vector | float]
    steps: float | None
    is_first: bool
    states: Mapping[str, Vector]
    group: dict[str, Any]


def _sgd(moved: Flat, meta: Vector) -> Slopes:
    """D = g̃ + μb' with Nesterov, b' with momentum alone, g̃ without, b' = μb + (1 − τ)g̃, θ' = θ − ηd."""
    group, rate = moved.group, float(moved.group["lr"])
    found = {"weight_decay": torch.dot(meta, moved.slope() * moved.before)}
    momentum = float(group["momentum"])
    if momentum == 0:
        return {**found, "log_learning_rate": -rate * torch.dot(meta, moved.effective)}
    new = moved.states["momentum_buffer"]
    old = _earlier(new, moved.effective, 1 - group["dampening"], momentum, is_first=moved.is_first)
    way, turned = (moved.effective + momentum * new, new + momentum * old) if group["nesterov"] else (new, old)
    return {**found, "log_learning_rate": -rate * torch.dot(meta, way), "momentum": -rate * torch.dot(meta, turned)}


def _adam(moved: Flat, meta: Vector) -> Slopes:
    """θ' = θ − η·m̂/n (− ηλθ where decoupled), n = √v̂ + ε, m̂ = m'/c1, v̂ = v'/c2, c_j = 1 − β_j^t.

    ∂θ'/∂β1 = −(η/n)·[(m − g̃)/c1 + tβ1^(t−1)·m'/c1²], ∂θ'/∂β2 = η·m̂/(2n²√v̂)·[(v − g̃²)/c2 + tβ2^(t−1)·v'/c2²].
    """
    group, effective = moved.group, moved.effective
    rate, decay = float(group["lr"]), float(group["weight_decay"])
    beta1, beta2 = (float(beta) for beta in group["betas"])
    assert moved.steps is not None
    t, is_first = moved.steps, moved.steps <= 1
    c1, c2 = 1 - beta1**t, 1 - beta2**t
    mean, square = moved.states["exp_avg"], moved.states["exp_avg_sq"]
    most = moved.states["max_exp_avg_sq"] if group["amsgrad"] else square
    root = (most / c2).sqrt()
    moves = root > 0
    below = torch.where(moves, root, 1.0)
    n = below + group["eps"]
    way = torch.where(moves, mean / c1 / n, 0.0)
    if group.get("decoupled_weight_decay", False):
        found = {
            "log_learning_rate": -rate * torch.dot(meta, way + decay * moved.before),
            "weight_decay": -rate * torch.dot(meta, moved.before),
        }
    else:
        found = {
            "log_learning_rate": -rate * torch.dot(meta, way),
            "weight_decay": torch.dot(meta, moved.slope() * moved.before),
        }
    if beta1 > 0:
        old = _earlier(mean, effective, 1 - beta1, beta1, is_first=is_first)
        turned = (old - effective) / c1 + t * beta1 ** (t - 1) * mean / c1**2
        found["beta1"] = -rate * torch.dot(meta, torch.where(moves, turned / n, 0.0))
    if beta2 > 0:
        old = _earlier(square, effective.square(), 1 - beta2, beta2, is_first=is_first)
        new = torch.where(most == square, old - effective.square(), 0.0)  # an old maximum does not answer
        turned = new / c2 + t * beta2 ** (t - 1) * most / c2**2
        found["beta2"] = rate / 2 * torch.dot(meta, way * turned / (n * below))
    return found


def _adagrad(moved: Flat, meta: Vector) -> Slopes:
    """θ' = θ − η_t·g̃/(√s' + ε)."""
    group = moved.group
    assert moved.steps is not None
    rate = float(group["lr"]) / (1 + (moved.steps - 1) * group["lr_decay"])
    way = moved.effective / (moved.states["sum"].sqrt() + group["eps"])
    way = torch.where(moved.states["sum"] > 0, way, 0.0)
    return {
        "log_learning_rate": -rate * torch.dot(meta, way),
        "weight_decay": torch.dot(meta, moved.slope() * moved.before),
    }


def _rmsprop(moved: Flat, meta: Vector) -> Slopes:
    """θ' = θ − η·b', b' = μb + g̃/n, n = √(v' − a'²) + ε."""
    group, rate, momentum = moved.group, float(moved.group["lr"]), float(moved.group["momentum"])
    square = moved.states["square_avg"]
    centre = moved.states["grad_avg"].square() if group["centered"] else 0.0
    arriving = moved.effective / ((square - centre).clamp(min=0).sqrt() + group["eps"])
    found = {"weight_decay": torch.dot(meta, moved.slope() * moved.before)}
    if momentum == 0:
        return {**found, "log_learning_rate": -rate * torch.dot(meta, torch.where(square > 0, arriving, 0.0))}
    new = moved.states["momentum_buffer"]
    old = _earlier(new, arriving, 1.0, momentum, is_first=moved.is_first)
    return {**found, "log_learning_rate": -rate * torch.dot(meta, new), "momentum": -rate * torch.dot(meta, old)}


FORMULAS: dict[type[torch.optim.Optimizer], Callable[[Flat, Vector], Slopes]] = {
    torch.optim.SGD: _sgd,
    torch.optim.Adam: _adam,
    torch.optim.AdamW: _adam,
    torch.optim.Adagrad: _adagrad,
    torch.optim.RMSprop: _rmsprop,
}


def _earlier(new: Vector, arrived: Vector, share: float, kept: float, *, is_first: bool) -> Vector:
    """An average before the step: new = kept·old + share·arrived; 0 before the first, and not what rounding says."""
    return torch.zeros_like(new) if is_first else (new - share * arrived) / kept


def _alike(step: TakenStep, gradient: Gradient) -> Iterator[tuple[Flat, Vector]]:
    """Params that the step moved alike, some at a time, with ∇M of each."""
    live = dict(step.student.named_parameters())
    before = step.before
    for optimizer, groups in zip(step.optimizers, before.groups, strict=True):
        if type(optimizer) not in FORMULAS:
            continue
        for group in groups:
            asked = [name for name in group.names if name in step.applied and name in gradient]
            kinds = {name: _kind(optimizer.state.get(live[name], {}), before.optimizer[name]) for name in asked}
            for (steps, is_first), names in itertools.groupby(sorted(asked, key=kinds.__getitem__), kinds.__getitem__):
                pieces = (piece for name in names for piece in _pieces(name, live[name].numel()))
                for some in in_chunks(pieces, len, PIECE):
                    moved = Moved(
                        [piece.of(before.params) for piece in some],
                        [piece.of(step.applied) for piece in some],
                        [not is_first] * len(some),
                        [piece.of_state(optimizer.state.get(live[piece.name], {})) for piece in some],
                        group.options,
                    )
                    flat = _flat(type(optimizer), moved, steps if steps >= 0 else None, is_first=is_first)
                    yield flat, _end_to_end([piece.of(gradient) for piece in some])


@dataclass(frozen=True)
class _Piece:
    """Some elements of a param: a step is taken element by element, and in float64 a whole one may be too large."""

    name: str
    start: int
    stop: int

    def __len__(self) -> int:
        return self.stop - self.start

    def of(self, tensors: Mapping[str, Tensor]) -> Tensor:
        return self.within(tensors[self.name])

    def of_state(self, state: Mapping[str, Any]) -> dict[str, Any]:
        return {key: self.within(value) if _is_like_a_param(key, value) else value for key, value in state.items()}

    def within(self, tensor: Tensor) -> Tensor:
        return tensor.reshape(-1)[self.start : self.stop]


def _pieces(name: str, size: int) -> Iterator[_Piece]:
    for start in range(0, size, PIECE):
        yield _Piece(name, start, min(start + PIECE, size))


PIECE = 2**19
"""Elements that are looked at together: some ten vectors of float64, 40 MB."""


def _is_like_a_param(key: str, value: Any) -> bool:
    return isinstance(value, Tensor) and key != "step"


def _kind(state: Mapping[str, Any], before: Any) -> tuple[float, bool]:
    """Its steps, −1 where they are not counted, and whether it had no state."""
    return (float(state["step"]) if "step" in state else -1.0), before == {}


def _flat(kind: type[torch.optim.Optimizer], moved: Moved, steps: float | None, *, is_first: bool) -> Flat:
    names = [name for name, value in moved.states[0].items() if _is_like_a_param(name, value)]
    return Flat(
        kind,
        _end_to_end(moved.before),
        _end_to_end(effective_gradient(moved)),
        functools.partial(_slope, kind, moved),
        steps,
        is_first,
        {name: _end_to_end(moved.of(name)) for name in names},
        moved.group,
    )


def _slope(kind: type[torch.optim.Optimizer], moved: Moved) -> Vector | float:
    slopes = JACOBIANS[kind](moved)
    numbers = [slope for slope in slopes if not isinstance(slope, Tensor)]  # all the same: they were moved alike
    tensors = [slope for slope in slopes if isinstance(slope, Tensor)]
    sign = -1.0 if moved.group["maximize"] else 1.0  # D is ∂θ'/∂g, and g̃ = ±g + λθ
    return sign * (numbers[0] if numbers else _end_to_end(tensors))


def _end_to_end(tensors: Sequence[Tensor]) -> Vector:
    """Complex ones as pairs of real ones, along which PyTorch's gradients are."""
    real = [torch.view_as_real(tensor) if tensor.is_complex() else tensor for tensor in tensors]
    return torch.cat([tensor.reshape(-1) for tensor in real]).double()
