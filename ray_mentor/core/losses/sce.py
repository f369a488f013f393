"""Symmetric cross-entropy (Wang et al. 2019)."""

from __future__ import annotations

import math
from dataclasses import dataclass

from jaxtyping import Float, Int
from torch import Tensor

from ray_mentor.core.losses.cross_entropy import cross_entropy
from ray_mentor.core.losses.expected_error import expected_error
from ray_mentor.core.losses.numbers import require_within

LOG_0 = math.log(1e-4)
"""What stands for log 0, as published: one-hot labels are clamped to 1e-4."""


@dataclass(frozen=True)
class SymmetricCrossEntropy:
    """ℓ_i = α·CE + β·RCE, RCE = −Σ_k p_k log 1[k = y] = −log 0·(1 − p_y), with :data:`LOG_0` for log 0.

    Args:
        alpha: α >= 0; published .1 for CIFAR-10, 6 for CIFAR-100.
        beta: β >= 0; published 1.
    """

    alpha: float = 0.1
    beta: float = 1.0

    def __post_init__(self) -> None:
        require_within("sce", "alpha", self.alpha, 0)
        require_within("sce", "beta", self.beta, 0)

    def __call__(
        self, logits: Float[Tensor, "batch classes"], labels: Int[Tensor, " batch"]
    ) -> Float[Tensor, " batch"]:
        losses = cross_entropy(logits, labels)
        return self.alpha * losses - self.beta * LOG_0 * expected_error(losses)
