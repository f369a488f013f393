"""MixUp (Zhang et al. 2018)."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from ray_mentor.core.batch import Batch
from ray_mentor.core.methods.mixing.base import AbstractMixing, mixed, own_share


class MixUp(AbstractMixing):
    """x̃_i = λ·x_i + (1 − λ)·x_π(i), and the loss likewise; λ ~ Beta(α, α), one per batch and rank, π a permutation.

    λ is folded to [1/2, 1].
    """

    def __init__(self, alpha: float) -> None:
        self.alpha = alpha

    def __call__(
        self, batch: Batch, generator: torch.Generator, sample_weights: Float[Tensor, " batch"] | None = None
    ) -> Batch:
        share = own_share(self.alpha, generator)
        return mixed(batch, share, torch.randperm(len(batch), generator=generator), "mixup")
