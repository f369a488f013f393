"""MentorMix as published (Jiang et al. 2020)."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from ray_mentor.core.batch import Batch
from ray_mentor.core.methods.mixing.base import AbstractMixing, drawn_partners, drawn_shares, mixed


class PublishedMentorMix(AbstractMixing):
    """x̃_i = λ_i·x_i + (1 − λ_i)·x_j, the loss likewise: two passes, as published.

    The batch as it is gets weights v. Partners are drawn with P(j) ∝ exp(v_j), and of λ ~ Beta(α, α), one a sample, the
    larger share goes to x_i where v_i >= 1/2, the smaller one where it is not. The mixed batch is weighed anew, by its
    own losses, and learnt from under these weights. Every batch is mixed.
    """

    by_weight = True
    weighs_anew = True

    def __init__(self, alpha: float) -> None:
        self.alpha = alpha

    def __call__(
        self, batch: Batch, generator: torch.Generator, sample_weights: Float[Tensor, " batch"] | None = None
    ) -> Batch:
        assert sample_weights is not None
        v = sample_weights.double()
        drawn = drawn_shares(self.alpha, generator, len(batch)).to(v.device, non_blocking=True)
        return mixed(batch, shares(drawn, v), drawn_partners(chances(v), generator), "mentormix-published")


def chances(v: Float[Tensor, " batch"]) -> Float[Tensor, " batch"]:
    """P(j) = exp(v_j)/Σ exp(v): to be drawn as a partner."""
    return torch.softmax(v, dim=0)


def shares(drawn: Float[Tensor, " batch"], v: Float[Tensor, " batch"]) -> Float[Tensor, " batch"]:
    """max(λ_i, 1 − λ_i) where v_i >= 1/2, else min(λ_i, 1 − λ_i)."""
    larger = torch.maximum(drawn, 1 - drawn)
    return torch.where(v >= 0.5, larger, 1 - larger)
