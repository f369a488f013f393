"""Learning to reweight (Ren et al. 2018): the influence itself is the weight, and there is no mentor."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from ray_mentor.core.methods.weightings.base import AbstractWeighting
from ray_mentor.core.step.observation import Observation


class LearningToReweight(AbstractWeighting):
    """w_i ∝ max(−∂M(θ − α·∇Σ_j ε_j ℓ_j)/∂ε_i, 0) at ε = 0, the largest of a batch 1.

    That is max(⟨∇M(θ), ∇ℓ_i⟩, 0) for any α: a sample counts as far as a step along it alone would lower the meta loss.
    Normalised by their sum (`normalisation` sum), weights are as published; where all are 0 the student stays.

    A meta gradient and a forward-mode pass at every step, some three plain steps; double backward, as published, finds
    the same.
    """

    needs_slopes = True

    def __call__(self, observation: Observation) -> Float[Tensor, " batch"]:
        assert observation.slopes is not None, "slopes are there for a weighting that needs them"
        slopes = observation.slopes.to(observation.features.loss).clamp(min=0)
        slopes = slopes.masked_fill(observation.features.trusted, 0.0)
        largest = slopes.max() if len(slopes) else slopes.sum()
        return torch.where(largest > 0, slopes / torch.where(largest > 0, largest, 1.0), 0.0)
