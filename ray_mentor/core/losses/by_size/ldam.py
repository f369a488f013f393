"""Label-distribution-aware margins (Cao et al. 2019)."""

from __future__ import annotations

from dataclasses import dataclass

from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional

from ray_mentor.core.losses.by_size.sized import BySize, require_trust
from ray_mentor.core.losses.cross_entropy import cross_entropy
from ray_mentor.core.losses.numbers import require_within


@dataclass
class LDAM(BySize):
    """ℓ_i = −log softmax(z_i − Δ_y e_y)[y_i], Δ_c = m (N_c/min N)^(−1/4): the rarer a class, the wider its margin.

    Published, z are cosines times 30 and m is 0.5 of a cosine, 15 in logits. A student here has its own last layer,
    whose logits have no bound.

    Args:
        margin: m >= 0, of the rarest class, in logits.
        trust: in [0, 1]: whether N_c counts given labels (0, published) or what they weigh (1).
    """

    margin: float = 15.0
    trust: float = 0.0
    name = "ldam"

    def __post_init__(self) -> None:
        require_within(self.name, "margin", self.margin, 0)
        require_trust(self.name, self.trust)

    def of(self, sizes: Float[Tensor, " classes"]) -> Float[Tensor, " classes"]:
        return self.margin * (sizes / sizes.min()) ** -0.25

    def __call__(
        self, logits: Float[Tensor, "batch classes"], labels: Int[Tensor, " batch"]
    ) -> Float[Tensor, " batch"]:
        margins = self.table(logits)
        return cross_entropy(logits - functional.one_hot(labels, len(margins)) * margins, labels)
