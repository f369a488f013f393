"""The learned mentor: weights from whoever holds it."""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor

from ray_mentor.core.mentor.access import AbstractMentorAccess
from ray_mentor.core.methods.weightings.base import AbstractWeighting
from ray_mentor.core.step.observation import Observation


class Learned(AbstractWeighting):
    """w_i = mentor_φ(x_i), with the φ of the latest meta update."""

    def __init__(self, access: AbstractMentorAccess) -> None:
        self.access = access

    def __call__(self, observation: Observation) -> Float[Tensor, " batch"]:
        return self.access.score(observation.shown)
