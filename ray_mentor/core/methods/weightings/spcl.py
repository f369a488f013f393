"""Self-paced curriculum learning, its linear scheme (Jiang et al. 2015), on the loss difference."""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor

from ray_mentor.core.methods.weightings.base import AbstractWeighting
from ray_mentor.core.step.observation import Observation


class LinearSPCL(AbstractWeighting):
    """w_i = 1 − d_i/γ, cut to [0, 1]: 1 up to the running percentile, 0 from γ nats above it on; γ → 0 is self-paced.

    Args:
        gamma: γ > 0, in nats.
    """

    def __init__(self, gamma: float = 1.0) -> None:
        self.gamma = gamma

    def __call__(self, observation: Observation) -> Float[Tensor, " batch"]:
        return (1 - observation.features.loss_difference / self.gamma).clamp(0, 1)
