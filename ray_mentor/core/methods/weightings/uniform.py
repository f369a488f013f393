"""Uniform weights: plain training."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from ray_mentor.core.observation import Observation
from ray_mentor.core.weightings.base import AbstractWeighting


class Uniform(AbstractWeighting):
    """w_i = 1."""

    def __call__(self, observation: Observation) -> Float[Tensor, " batch"]:
        return torch.ones_like(observation.features.loss)
