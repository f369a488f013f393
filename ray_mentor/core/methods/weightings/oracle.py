"""The oracle: what weighting could reach if it knew the truth."""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor

from ray_mentor.core.methods.weightings.base import AbstractWeighting
from ray_mentor.core.step.observation import Observation
from ray_mentor.errors import UserError

TRUTH_MISSING = (
    "method is 'oracle', but the true labels of this data are not known; add noise, name a "
    "true_label_column, or choose another method"
)


class Oracle(AbstractWeighting):
    """w_i = 1[given label = true label]."""

    def __call__(self, observation: Observation) -> Float[Tensor, " batch"]:
        if observation.clean is None:
            raise UserError(TRUTH_MISSING)
        return observation.clean.to(observation.features.loss.dtype)
