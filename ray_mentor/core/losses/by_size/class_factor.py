"""A factor on the loss of each class, beside what a mentor thinks of the sample."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from jaxtyping import Float, Int
from torch import Tensor

from ray_mentor.core.epoch import EpochEnd
from ray_mentor.core.losses.base import PerSampleLoss
from ray_mentor.core.losses.by_size.sized import BySize, effective_factors, require_trust
from ray_mentor.core.losses.cross_entropy import cross_entropy
from ray_mentor.core.losses.numbers import require_within


@dataclass
class ClassBalanced(BySize):
    """ℓ_i = f_y ℓ_i, f_c ∝ (1 − β)/(1 − β^N_c), mean 1 over samples (Cui et al. 2019).

    Deferred (DRW, Cao et al. 2019), f_c is 1 until an epoch ends behind ``start``.

    Args:
        beta: β in [0, 1]; 1: inverse frequency, 0: all alike.
        trust: in [0, 1]: whether N_c counts given labels (0, published) or what they weigh (1).
        start: share of training, in [0, 1]; published 160 of 200 epochs.
        loss: what the factor is on.
    """

    beta: float = 0.9999
    trust: float = 0.0
    start: float = 0.0
    loss: PerSampleLoss = field(default=cross_entropy, repr=False)
    name = "class-balanced"

    def __post_init__(self) -> None:
        require_within(self.name, "beta", self.beta, 0, 1)
        require_trust(self.name, self.trust)
        require_within(self.name, "start", self.start, 0, 1)

    def at_epoch(self, end: EpochEnd) -> None:
        super().at_epoch(end)
        if self.start > 0:
            self.state = None if end.progress < self.start else self.sizes

    def of(self, sizes: Float[Tensor, " classes"]) -> Float[Tensor, " classes"]:
        return effective_factors(sizes, 0.0 if self.start > 0 and self.state is None else self.beta)

    def __call__(
        self, logits: Float[Tensor, "batch classes"], labels: Int[Tensor, " batch"]
    ) -> Float[Tensor, " batch"]:
        return self.table(logits)[labels] * self.loss(logits, labels)

    def take_sizes(self, given: Sequence[int], trusted: Sequence[int] | None = None) -> None:
        super().take_sizes(given, trusted)
        if isinstance(self.loss, BySize):
            self.loss.take_sizes(given, trusted)
