"""The expected error: what a mentor makes small on the meta set."""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from ray_mentor.core.losses.base import PerSampleLoss


class ExpectedError:
    """1 − exp(−ℓ_i): for cross-entropy 1 − p_y, the probability that a label drawn from the student is wrong.

    As a meta loss it asks for better predictions, where cross-entropy first asks for less confidence: once the
    student memorises, its loss on unseen samples is mostly over-confidence, every wrong label lowers it, and their
    mean influence says "helps". Bounded, too: no single meta sample decides the gradient.

    Args:
        loss: ℓ, a negative log-likelihood.
    """

    def __init__(self, loss: PerSampleLoss) -> None:
        self.loss = loss

    def __call__(self, outputs: Any, labels: Tensor) -> Float[Tensor, " batch"]:
        """One value per sample, below 1; in [0, 1) where ℓ >= 0."""
        return expected_error(self.loss(outputs, labels))


def expected_error(losses: Float[Tensor, " batch"]) -> Float[Tensor, " batch"]:
    """1 − exp(−ℓ_i)."""
    return -torch.expm1(-losses)
