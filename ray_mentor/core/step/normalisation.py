"""From sample weights to the normalised weights ŵ of the student step."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from ray_mentor.errors import one_of

NORMALISATIONS = ("sum", "batch")


def normalise(sample_weights: Float[Tensor, "batch ..."], how: str) -> Float[Tensor, "batch ..."]:
    """ŵ_i = w_i / Σ_j w_j (``sum``) or w_i / B (``batch``), over the global batch.

    ``sum`` keeps the step size when weights are small; ``batch`` is the published form, where small
    weights also mean small steps. A batch whose weights are all 0 gives ŵ = 0: no step but weight decay.

    Args:
        sample_weights: w, of the whole global batch, in [0, 1]; of two students a column each.
    """
    one_of(how, NORMALISATIONS, "normalisation")
    if how == "batch":
        return sample_weights / len(sample_weights)
    total = sample_weights.sum(dim=0)
    if total.is_cpu and total.ndim == 0 and not total.requires_grad:
        number = float(total)
        return sample_weights / number if number > 0 else torch.zeros_like(sample_weights)
    some = total > 0
    return torch.where(some, sample_weights / torch.where(some, total, 1.0), 0.0)
