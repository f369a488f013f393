"""The curriculum that MentorNet PD was fitted to (Jiang et al. 2018), as the formula that it is."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from ray_mentor.core.methods.weightings.base import AbstractWeighting
from ray_mentor.core.methods.weightings.self_paced import hard
from ray_mentor.core.methods.weightings.spcl import LinearSPCL
from ray_mentor.core.step.observation import Observation

_ROUNDING = 1e-5  # float32 holds 0.19 as a little less


class Predefined(AbstractWeighting):
    """1 for percent e ≤ 18 of training, self-paced for 18 < e < 90, linear SPCL (γ = 1) from 90 on; e = ⌊100·progress⌋.

    A network that imitates it is worth having to be refined from there, and for nothing else.
    """

    def __init__(self) -> None:
        self._late = LinearSPCL()

    def __call__(self, observation: Observation) -> Float[Tensor, " batch"]:
        d = observation.features.loss_difference
        percent = torch.floor(100 * observation.features.progress.double() + _ROUNDING)
        late = torch.where(percent < 90, hard(d, d), self._late(observation))
        return torch.where(percent <= 18, torch.ones_like(d), late)
