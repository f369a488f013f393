"""Bootstrapping: the target is partly what the student says itself (Reed et al. 2015)."""

from __future__ import annotations

from dataclasses import dataclass

from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional

from ray_mentor.core.losses.cross_entropy import cross_entropy
from ray_mentor.core.losses.numbers import require_within


@dataclass(frozen=True)
class SoftBootstrap:
    """ℓ_i = −Σ_k (β·1[k = y] + (1 − β)·p_k) log p_k: β·CE + (1 − β)·entropy, through which the slope goes as well.

    Args:
        beta: β in [0, 1].
    """

    beta: float = 0.95

    def __post_init__(self) -> None:
        require_within("bootstrap-soft", "beta", self.beta, 0, 1)

    def __call__(
        self, logits: Float[Tensor, "batch classes"], labels: Int[Tensor, " batch"]
    ) -> Float[Tensor, " batch"]:
        losses = cross_entropy(logits, labels)
        log_p = functional.log_softmax(logits, dim=1)
        return self.beta * losses - (1 - self.beta) * (log_p.exp() * log_p).sum(1)


@dataclass(frozen=True)
class HardBootstrap:
    """ℓ_i = β·CE(y) + (1 − β)·CE(arg max_k z_k).

    Args:
        beta: β in [0, 1].
    """

    beta: float = 0.8

    def __post_init__(self) -> None:
        require_within("bootstrap-hard", "beta", self.beta, 0, 1)

    def __call__(
        self, logits: Float[Tensor, "batch classes"], labels: Int[Tensor, " batch"]
    ) -> Float[Tensor, " batch"]:
        losses = cross_entropy(logits, labels)
        return self.beta * losses + (1 - self.beta) * cross_entropy(logits, logits.argmax(1))
