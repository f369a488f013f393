"""Generalised cross-entropy (Zhang & Sabuncu 2018)."""

from __future__ import annotations

from dataclasses import dataclass

from jaxtyping import Float, Int
from torch import Tensor

from ray_mentor.core.losses.cross_entropy import cross_entropy
from ray_mentor.core.losses.expected_error import expected_error
from ray_mentor.core.losses.numbers import require_within


@dataclass(frozen=True)
class GeneralisedCrossEntropy:
    """ℓ_i = (1 − p_y^q)/q: cross-entropy as q → 0, and half of :class:`MeanAbsoluteError` at q = 1.

    Its slope is p_y^q times that of cross-entropy, so that a label which the student finds impossible hardly counts.

    Args:
        q: in [0, 1].
    """

    q: float = 0.7

    def __post_init__(self) -> None:
        require_within("gce", "q", self.q, 0, 1)

    def __call__(
        self, logits: Float[Tensor, "batch classes"], labels: Int[Tensor, " batch"]
    ) -> Float[Tensor, " batch"]:
        losses = cross_entropy(logits, labels)
        return expected_error(self.q * losses) / self.q if self.q else losses
