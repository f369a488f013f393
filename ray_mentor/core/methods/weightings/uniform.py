"""Uniform weights: plain training."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from ray_mentor.core.methods.weightings.base import AbstractWeighting
from ray_mentor.core.step.observation import Observation


class Uniform(AbstractWeighting):
    """w_i = 1."""

    def __call__(self, observation: Observation) -> Float[Tensor, " batch"]:
        return torch.ones_like(observation.features.loss)
