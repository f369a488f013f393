"""What another run ended with, which learns no more: its mentor, or a rule that was made of that."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from ray_mentor.core.mentor.learner import MentorLearner
from ray_mentor.core.mentor.rule import Rule
from ray_mentor.core.methods.weightings.base import AbstractWeighting
from ray_mentor.core.step.observation import Observation


class Frozen(AbstractWeighting):
    """w_i = mentor_φ(x_i) with φ as it is: the bits that a mentor gives which begins so, until it learns."""

    def __init__(self, mentor: MentorLearner) -> None:
        self.mentor = mentor

    def __call__(self, observation: Observation) -> Float[Tensor, " batch"]:
        return self.mentor.score(observation.shown)


class Ruled(AbstractWeighting):
    """w_i as a table says, of the samples of the global batch whose labels are in doubt."""

    def __init__(self, rule: Rule) -> None:
        self.rule = rule

    def __call__(self, observation: Observation) -> Float[Tensor, " batch"]:
        seen, asked = observation.shown, ~observation.features.trusted
        weights = torch.ones_like(seen.loss)
        if asked.any():
            columns = {"loss_differences": seen.loss_difference, "labels": seen.label, "progress": seen.progress}
            given = {name: column[asked].numpy() for name, column in columns.items()}
            weights[asked] = torch.from_numpy(self.rule(seen.loss[asked].numpy(), **given)).to(weights)
        return weights
