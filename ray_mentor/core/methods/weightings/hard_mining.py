"""Hard example mining: the reverse of self-paced learning."""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor

from ray_mentor.core.methods.weightings.base import AbstractWeighting
from ray_mentor.core.step.observation import Observation


class HardMining(AbstractWeighting):
    """w_i = 1[d_i ≥ 0]: samples whose loss lies at or above the running percentile. Wrong labels are among them."""

    def __call__(self, observation: Observation) -> Float[Tensor, " batch"]:
        return (observation.features.loss_difference >= 0).to(observation.features.loss.dtype)
