"""Self-paced learning (Kumar et al. 2010), by how a weight falls with the loss (Jiang et al. 2014)."""

from __future__ import annotations

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

from ray_mentor.core.methods.weightings.base import AbstractWeighting
from ray_mentor.core.step.observation import Observation
from ray_mentor.errors import one_of

Losses = Float[Tensor, " batch"]


def hard(d: Losses, u: Losses) -> Losses:
    """1[d ≤ 0]."""
    return (d <= 0).to(d)


def linear(d: Losses, u: Losses) -> Losses:
    """1 − u, 0 from u = 1 on."""
    return (1 - u).clamp(0, 1)


def logarithmic(d: Losses, u: Losses) -> Losses:
    """log(λu + ζ)/log ζ, 0 from u = 1 on; λ = ζ = ½: the published form needs λ in (0, 1) and the loss in its units."""
    return (torch.log((u + 1) / 2) / torch.log(torch.full_like(u, 0.5))).clamp(0, 1)


def mixture(d: Losses, u: Losses) -> Losses:
    """1 up to u = ½, then ζ(1/ℓ − 1/λ1) = 1/u − 1, 0 from u = 1 on: λ1 = q, λ2 = q/2, ζ = λ1λ2/(λ1 − λ2) = q."""
    return (1 / u.clamp(min=0.5) - 1).clamp(0, 1)


PACES: dict[str, Callable[[Losses, Losses], Losses]] = {
    "hard": hard,
    "linear": linear,
    "logarithmic": logarithmic,
    "mixture": mixture,
}
"""Of the loss difference d = ℓ − q, and the loss in units of the running percentile, u = ℓ/q, to sample weights."""


class SelfPaced(AbstractWeighting):
    """Samples of small loss alone: 1[d_i ≤ 0], or a weight that falls from 1 at loss 0 to 0 at the running percentile.

    Where that percentile is no positive number there is no such unit, and the pace is hard.

    Args:
        pace: one of :data:`PACES`.

    Raises:
        UserError: an unknown pace.
    """

    def __init__(self, pace: str = "hard") -> None:
        self._weights = PACES[one_of(pace, PACES, "pace")]

    def __call__(self, observation: Observation) -> Float[Tensor, " batch"]:
        loss, d = observation.features.loss, observation.features.loss_difference
        q = loss - d
        return torch.where(q > 0, self._weights(d, loss / torch.where(q > 0, q, 1.0)), hard(d, loss))
