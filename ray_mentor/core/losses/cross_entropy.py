"""Cross-entropy, one value a sample."""

from __future__ import annotations

from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional


def cross_entropy(logits: Float[Tensor, "batch classes"], labels: Int[Tensor, " batch"]) -> Float[Tensor, " batch"]:
    """ℓ_i = −log softmax(z_i)[y_i], in nats."""
    return functional.cross_entropy(logits, labels, reduction="none")
