"""Self-paced learning (Kumar et al. 2010), as a curriculum on the loss difference."""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor

from ray_mentor.core.methods.weightings.base import AbstractWeighting
from ray_mentor.core.step.observation import Observation


class SelfPaced(AbstractWeighting):
    """w_i = 1[d_i ≤ 0]: samples whose loss lies at or below the running percentile."""

    def __call__(self, observation: Observation) -> Float[Tensor, " batch"]:
        return (observation.features.loss_difference <= 0).to(observation.features.loss.dtype)
