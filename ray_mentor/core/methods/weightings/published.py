"""A mentor whose params are given and stay as they are."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from ray_mentor.core.mentor.networks import AbstractMentor
from ray_mentor.core.methods.weightings.base import AbstractWeighting
from ray_mentor.core.step.observation import Observation


class Published(AbstractWeighting):
    """w_i = mentor(x_i) of a frozen mentor, e.g. MentorNet PD (Jiang et al. 2018)."""

    def __init__(self, mentor: AbstractMentor) -> None:
        self.mentor = mentor.eval()

    @torch.no_grad()
    def __call__(self, observation: Observation) -> Float[Tensor, " batch"]:
        self.mentor.to(observation.features.loss.device)
        return self.mentor.sample_weights(observation.features)
