"""Early-learning regularisation (Liu et al. 2020)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from ray_mentor.core.losses.base import TargetLoss
from ray_mentor.core.losses.cross_entropy import cross_entropy
from ray_mentor.core.losses.numbers import require_within

_NEAR = 1e-4
"""How near p comes to 0 and 1 at most, as published; so 1 − ⟨t, p⟩ stays above 0."""


@dataclass(frozen=True)
class EarlyLearning(TargetLoss):
    """ℓ_i = CE + λ·log(1 − ⟨t_i, p_i⟩), t_i ← β·t_i + (1 − β)·p_i at each visit, from 0.

    t_i is the sample's own running prediction; no slope goes through it. While a student does not know wrong labels by
    heart, t_i is right more often than they are, and the second term, which falls as p_i agrees with t_i, holds p_i
    there.

    Args:
        strength: λ >= 0; published 3 for CIFAR-10, 7 for CIFAR-100.
        beta: β in [0, 1); published .7 for CIFAR-10, .9 for CIFAR-100.
    """

    strength: float = 3.0
    beta: float = 0.7

    def __post_init__(self) -> None:
        require_within("elr", "strength", self.strength, 0)
        require_within("elr", "beta", self.beta, 0, 0.999999)

    def target(
        self, logits: Float[Tensor, "batch classes"], before: Float[Tensor, "batch classes"]
    ) -> Float[Tensor, "batch classes"]:
        p = torch.softmax(logits.detach(), dim=1).clamp(_NEAR, 1 - _NEAR)
        return self.beta * before.nan_to_num(0.0) + (1 - self.beta) * p / p.sum(1, keepdim=True)

    def __call__(
        self,
        logits: Float[Tensor, "batch classes"],
        labels: Int[Tensor, " batch"],
        targets: Float[Tensor, "batch classes"] | None = None,
    ) -> Float[Tensor, " batch"]:
        assert targets is not None, "a loss that remembers is given what it remembers"
        losses = cross_entropy(logits, labels)
        p = torch.softmax(logits, dim=1).clamp(_NEAR, 1 - _NEAR)
        return losses + self.strength * torch.log(1 - (targets * p).sum(1))
