"""Mean absolute error as a loss of classes (Ghosh et al. 2017)."""

from __future__ import annotations

from dataclasses import dataclass

from jaxtyping import Float, Int
from torch import Tensor

from ray_mentor.core.losses.cross_entropy import cross_entropy
from ray_mentor.core.losses.expected_error import expected_error


@dataclass(frozen=True)
class MeanAbsoluteError:
    """ℓ_i = Σ_k |p_k − 1[k = y]| = 2·(1 − p_y): robust to symmetric noise, and slow to learn many classes."""

    def __call__(
        self, logits: Float[Tensor, "batch classes"], labels: Int[Tensor, " batch"]
    ) -> Float[Tensor, " batch"]:
        return 2 * expected_error(cross_entropy(logits, labels))
