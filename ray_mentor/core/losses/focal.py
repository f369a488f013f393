"""Focal loss (Lin et al. 2017)."""

from __future__ import annotations

from dataclasses import dataclass

from jaxtyping import Float, Int
from torch import Tensor

from ray_mentor.core.losses.cross_entropy import cross_entropy
from ray_mentor.core.losses.expected_error import expected_error
from ray_mentor.core.losses.numbers import require_within


@dataclass(frozen=True)
class Focal:
    """ℓ_i = −(1 − p_y)^γ log p_y: hard samples count more, and with them wrong labels.

    Args:
        gamma: γ >= 1; 0 is cross-entropy, and between the two the slope has no bound at p_y = 1.
    """

    gamma: float = 2.0

    def __post_init__(self) -> None:
        require_within("focal", "gamma", self.gamma, 1)

    def __call__(
        self, logits: Float[Tensor, "batch classes"], labels: Int[Tensor, " batch"]
    ) -> Float[Tensor, " batch"]:
        losses = cross_entropy(logits, labels)
        return expected_error(losses) ** self.gamma * losses
