"""∂M(θ')/∂h of what the student's loss could be set to, from the logits and the tangent that forward mode carries."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from ray_mentor.core.batch import Batch
from ray_mentor.core.influence.hypergradients.of_optimizer import Slopes

ADJUSTMENT = "logit_adjustment/"
"""Before the class that a hypergradient is of."""

MOST_CLASSES = 20
"""That are told apart: beyond, columns by class would be most of what is written down of an epoch."""


@torch.no_grad()
def loss_hypergradients(
    logits: Float[Tensor, "own classes"],
    tangent: Float[Tensor, "own classes"],
    batch: Batch,
    weights: Float[Tensor, " own"],
) -> Slopes:
    """∂/∂h of φ(h) = Σ_i ŵ_i·⟨∂ℓ(z_i; h)/∂z, ż_i⟩ at cross-entropy as it is, ż = ∂z/∂θ · D∇M: ∂M/∂h, of this step.

    With q a sample's target (its label; where it was mixed, both), p = softmax(z):

    - ``label_smoothing`` α, ℓ = (1 − α)·CE(z, q) + α·mean_c CE(z, c), at 0: Σ ŵ(q·ż − mean_c ż_c)
    - ``log_temperature`` τ, ℓ = CE(z·e^(−τ), q), at 0: −Σ ŵ((p − q)·ż + Cov_p(ż, z))
    - ``logit_adjustment/c`` a_c, ℓ = CE(z + a, q) (Menon et al. 2021), at 0: Σ ŵ p_c(ż_c − p·ż), of each class c where
      there are 20 at most; they add up to 0, since a constant on all logits changes nothing

    Args:
        logits: z, of this rank's samples.
        tangent: ż, along D∇M.
        weights: ŵ.

    Returns:
        This rank's part of each, a sum over ranks.
    """
    z, way, w = logits.double(), tangent.double(), weights.double()
    p = torch.softmax(z, dim=1)
    given = _targets(way, batch)
    along = (p * way).sum(dim=1)
    together = (p * way * z).sum(dim=1) - along * (p * z).sum(dim=1)
    found = {
        "label_smoothing": torch.dot(w, given - way.mean(dim=1)),
        "log_temperature": -torch.dot(w, along - given + together),
    }
    if z.shape[1] <= MOST_CLASSES:
        by_class = w @ (p * (way - along[:, None]))
        found |= {f"{ADJUSTMENT}{label}": slope for label, slope in enumerate(by_class.unbind())}
    return found


def _targets(way: Float[Tensor, "own classes"], batch: Batch) -> Float[Tensor, " own"]:
    """q·ż of each sample."""
    given = way.gather(1, batch.labels[:, None])[:, 0]
    if batch.share is None or batch.partner_labels is None:
        return given
    return batch.share * given + (1 - batch.share) * way.gather(1, batch.partner_labels[:, None])[:, 0]
