"""Gradient surgery between train and meta gradient: PCGrad (Yu et al. 2020), Gradient Vaccine (Wang et al. 2021)."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from ray_mentor.core.step.gradient_rules.base import AbstractGradientRule, Gradient

_MOST = 0.999
"""The highest target cosine: at 1 the rule would need the train gradient to be the meta gradient."""


class GradientVaccine(AbstractGradientRule):
    """Where g = ∇train and m = ∇M(θ) agree less than they use to, g is turned towards m until they do.

    With φ = cos(g, m) and a target φ̂: where φ < φ̂,

        g ← g + ‖g‖(φ̂√(1 − φ²) − φ√(1 − φ̂²)) / (‖m‖√(1 − φ̂²)) · m ,

    after which cos(g, m) = φ̂; then φ̂ ← (1 − β)φ̂ + βφ, from 0. φ and φ̂ are of all params together (published: layer by
    layer as well). β = 0 leaves φ̂ at 0, which is PCGrad: of g what points against m is taken away.

    All of it is computed where the gradients are; nothing waits for the device.

    Args:
        beta: β in [0, 1].

    Attributes:
        target: φ̂, a tensor without dimensions; None before the first step.
    """

    needs_meta_gradient = True

    def __init__(self, beta: float = 0.01) -> None:
        self.beta = beta
        self.target: Float[Tensor, ""] | None = None

    @torch.no_grad()
    def __call__(self, train: Gradient, meta: Gradient | None) -> Gradient:
        assert meta is not None, "a rule that asks for the meta gradient is given one"
        both = [(train[name], meta[name]) for name in train if name in meta]
        if not both:
            return train
        ours, theirs = ([pair[side] for pair in both] for side in (0, 1))
        g, m = _norm(list(train.values())), _norm(list(meta.values()))
        phi = (_dot(ours, theirs) / (g * m).clamp(min=torch.finfo(g.dtype).tiny)).clamp(-1, 1)
        target = torch.zeros_like(phi) if self.target is None else self.target.to(phi)
        turned = g * (target * (1 - phi**2).sqrt() - phi * (1 - target**2).sqrt()) / (m * (1 - target**2).sqrt())
        share = torch.where((phi < target) & (m > 0) & turned.isfinite(), turned, 0.0)
        self.target = ((1 - self.beta) * target + self.beta * phi).clamp(max=_MOST)
        return {
            name: gradient + share.to(gradient) * meta[name] if name in meta else gradient
            for name, gradient in train.items()
        }

    @property
    def state(self) -> float | None:
        return None if self.target is None else float(self.target)

    @state.setter
    def state(self, value: float | None) -> None:
        self.target = None if value is None else torch.tensor(value, dtype=torch.float64)


class PCGrad(GradientVaccine):
    """Where cos(g, m) < 0: g ← g − ⟨g, m⟩/‖m‖²·m."""

    def __init__(self) -> None:
        super().__init__(beta=0.0)


def _norm(gradients: list[Tensor]) -> Float[Tensor, ""]:
    found: Tensor = torch.linalg.vector_norm(torch.stack(torch._foreach_norm(gradients)).double())
    return found


def _dot(ones: list[Tensor], others: list[Tensor]) -> Float[Tensor, ""]:
    return torch.stack([product.sum() for product in torch._foreach_mul(ones, others)]).double().sum()
