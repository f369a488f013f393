"""Mixing that the mentor guides (MentorMix, Jiang et al. 2020)."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from ray_mentor.core.batch import Batch
from ray_mentor.core.methods.mixing.base import AbstractMixing, drawn_partners, mixed, own_share


class MentorMix(AbstractMixing):
    """x̃_i = λ·x_i + (1 − λ)·x_j, j drawn with P(j) ∝ w_j; the loss likewise, weighed by w_i. λ as in MixUp.

    So a sample whose label is believed goes into many others, and one that is not into few. The published method looks
    at every batch twice, weighs the mixed one anew, and lets the larger share be the more trusted sample's; here the
    weight is that of the row's own sample, and a batch is only mixed if a draw falls below the share of memory in what
    the student knows: mixing helps a student that memorises, and holds back one that doesn't.
    """

    by_weight = True
    as_memorised = True

    def __init__(self, alpha: float) -> None:
        self.alpha = alpha

    def __call__(
        self, batch: Batch, generator: torch.Generator, sample_weights: Float[Tensor, " batch"] | None = None
    ) -> Batch:
        assert sample_weights is not None
        share = own_share(self.alpha, generator)
        return mixed(batch, share, drawn_partners(sample_weights.double() + _LEAST, generator), "mentormix")


_LEAST = 1e-6  # so that there is something to draw where all weights are 0
