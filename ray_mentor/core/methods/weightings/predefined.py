"""The curriculum that MentorNet PD was fitted to (Jiang et al. 2018), as the formula that it is."""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor

from ray_mentor.core.mentor.networks.mentornet import percent_of
from ray_mentor.core.mentor.offline.predefined import predefined
from ray_mentor.core.methods.weightings.base import AbstractWeighting
from ray_mentor.core.step.observation import Observation


class Predefined(AbstractWeighting):
    """1 for percent e ≤ 18 of training, self-paced for 18 < e < 90, linear SPCL (γ = 1) from 90 on; e = ⌊100·progress⌋.

    A network that imitates it is worth having to be refined from there, and for nothing else.
    """

    def __call__(self, observation: Observation) -> Float[Tensor, " batch"]:
        return predefined(observation.features.loss_difference, percent_of(observation.features.progress))
