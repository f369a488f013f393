"""A mentor that another run ended with, which learns no more."""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor

from ray_mentor.core.mentor.learner import MentorLearner
from ray_mentor.core.methods.weightings.base import AbstractWeighting
from ray_mentor.core.step.observation import Observation


class Frozen(AbstractWeighting):
    """w_i = mentor_φ(x_i) with φ as it is: the bits that a mentor gives which begins so, until it learns."""

    def __init__(self, mentor: MentorLearner) -> None:
        self.mentor = mentor

    def __call__(self, observation: Observation) -> Float[Tensor, " batch"]:
        return self.mentor.score(observation.shown)
