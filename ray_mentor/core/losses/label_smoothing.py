"""Label smoothing (Szegedy et al. 2016)."""

from __future__ import annotations

from dataclasses import dataclass

from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional

from ray_mentor.core.losses.cross_entropy import cross_entropy
from ray_mentor.core.losses.numbers import require_within


@dataclass(frozen=True)
class LabelSmoothing:
    """ℓ_i = (1 − ε)·CE − ε/C·Σ_k log p_k.

    Args:
        epsilon: ε in [0, 1].
    """

    epsilon: float = 0.1

    def __post_init__(self) -> None:
        require_within("label-smoothing", "epsilon", self.epsilon, 0, 1)

    def __call__(
        self, logits: Float[Tensor, "batch classes"], labels: Int[Tensor, " batch"]
    ) -> Float[Tensor, " batch"]:
        losses = cross_entropy(logits, labels)
        return (1 - self.epsilon) * losses - self.epsilon * functional.log_softmax(logits, dim=1).mean(1)
