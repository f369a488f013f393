"""Logit adjustment (Menon et al. 2021); balanced softmax at τ = 1 (Ren et al. 2020)."""

from __future__ import annotations

from dataclasses import dataclass

from jaxtyping import Float, Int
from torch import Tensor

from ray_mentor.core.losses.by_size.sized import BySize, require_trust
from ray_mentor.core.losses.cross_entropy import cross_entropy
from ray_mentor.core.losses.numbers import require_within


@dataclass
class LogitAdjusted(BySize):
    """ℓ_i = −log softmax(z_i + τ log N)[y_i]: the student's own z then are those of classes of equal size.

    Args:
        tau: τ >= 0; published 1, at which arg max z has the least mean error over classes.
        trust: in [0, 1]: whether N_c counts given labels (0, published) or what they weigh (1).
    """

    tau: float = 1.0
    trust: float = 0.0
    name = "logit-adjusted"

    def __post_init__(self) -> None:
        require_within(self.name, "tau", self.tau, 0)
        require_trust(self.name, self.trust)

    def of(self, sizes: Float[Tensor, " classes"]) -> Float[Tensor, " classes"]:
        return self.tau * (sizes / sizes.max()).log()

    def __call__(
        self, logits: Float[Tensor, "batch classes"], labels: Int[Tensor, " batch"]
    ) -> Float[Tensor, " batch"]:
        return cross_entropy(logits + self.table(logits), labels)
