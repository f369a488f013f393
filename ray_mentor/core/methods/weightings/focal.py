"""The focal loss (Lin et al. 2017) as a curriculum: its factor is the sample weight."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from ray_mentor.core.methods.weightings.base import AbstractWeighting
from ray_mentor.core.step.observation import Observation


class FocalWeights(AbstractWeighting):
    """w_i = (1 − exp(−ℓ_i))^γ, without a slope through it: what is hard counts more, and wrong labels are.

    Args:
        gamma: γ >= 0.
    """

    def __init__(self, gamma: float = 2.0) -> None:
        self.gamma = gamma

    def __call__(self, observation: Observation) -> Float[Tensor, " batch"]:
        return (-torch.expm1(-observation.features.loss)).clamp(0, 1) ** self.gamma
