"""What a mentor knows of samples by two classes, the given one and the one that the student predicts."""

from __future__ import annotations

from typing import Any, final

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from ray_mentor.core.step.features import Features

DECAY, SHRINKAGE = 0.97, 10.0
"""What an update leaves of the sums, and how many samples of no evidence a cell begins with."""

MOST_CLASSES = 64
"""With more, a prediction counts as the given class or as another, since C² cells would neither fill nor travel."""

_ROUNDING = 1.001


def weight_of(class_evidence: float | None, meta_from: str = "trusted") -> float:
    """κ: what is given, or else 1, and 0 where the meta set is drawn from labels that may be wrong.

    Those are wrong by the same pairs of classes as the others, so that the pairs then count for each other.
    """
    if class_evidence is not None:
        return class_evidence
    return 1.0 if meta_from == "trusted" else 0.0


@final
class ClassEvidence(nn.Module):
    """κ·E[y, ŷ] is added to the logit of a sample with given class y and predicted class ŷ:

        E[y, ŷ] = −(S[y, ŷ] − s̄·N[y, ŷ]) / (N[y, ŷ] + 10),   s̄ = ΣS / ΣN

    S and N are the sum of influences, in units of their mean size in the update, and the count of the samples in a
    cell, each times 0.97 at an update. A loss alone can't tell a class that is taken for another from one that is
    hard; the influences of a pair of classes can, all together. Where the predicted class is not known, E is 0.

    Attributes:
        sums: S, (C, C); (C, 2) with more than 64 classes: [y, 1] where ŷ = y, else [y, 0].
        counts: N, of the same shape.
    """

    sums: Tensor
    counts: Tensor
    _made: tuple[Tensor, Tensor, tuple[int, int], Tensor] | None
    """κ·E, and what it was made of: both buffers, and how often they had been written to."""

    def __init__(self, n_classes: int, weight: float) -> None:
        """Knows nothing yet.

        Args:
            n_classes: C, >= 1.
            weight: κ, >= 0.
        """
        super().__init__()
        self._n_classes = n_classes
        self._weight = weight
        self._made = None
        shape = n_classes, n_classes if n_classes <= MOST_CLASSES else 2
        for name in ("sums", "counts"):
            self.register_buffer(name, torch.zeros(shape, dtype=torch.float32, device="cpu"))

    def forward(self, features: Features) -> Float[Tensor, " batch"]:
        """κ·E of each sample."""
        given, predicted, classes = features.label, features.predicted, self._n_classes
        if self.sums.shape[1] != classes:
            within = (predicted >= 0) & (predicted < classes)
            predicted = torch.where(within, (predicted == given).long(), -1)
        table = self._table()
        width = table.shape[1]
        if table.is_cpu:
            cells = np.ravel_multi_index((given.numpy() + 1, predicted.numpy() + 1), (classes + 2, width), mode="clip")
            return torch.from_numpy(table.view(-1).numpy()[cells])
        cell = torch.add(predicted.clamp(-1, width - 2), given.clamp(-1, classes), alpha=width)
        return table.view(-1)[cell + (width + 1)]

    @torch.no_grad()
    def _table(self) -> Float[Tensor, "given predicted"]:
        """κ·E with a margin of zeros on every side, for what is no class; made when what is known has changed."""
        sums, counts = self.sums, self.counts
        versions = sums._version, counts._version
        if self._made is None or self._made[0] is not sums or self._made[1] is not counts or self._made[2] != versions:
            mean = sums.sum() / counts.sum().clamp(min=torch.finfo(sums.dtype).tiny)
            evidence = self._weight * (-(sums - mean * counts) / (counts + SHRINKAGE))
            self._made = sums, counts, versions, nn.functional.pad(evidence, (1, 1, 1, 1))
        return self._made[-1]

    def __getstate__(self) -> dict[str, Any]:
        """Copies make their own."""
        return {**self.__dict__, "_made": None}

    @torch.no_grad()
    def take_in(self, features: Features, influence: Float[Tensor, " batch"]) -> None:
        """Counts the influences of an update; where all are 0, or none is known, it says nothing.

        Args:
            influence: s_i; what is not finite is not known, and a trusted sample's says nothing of the others.
        """
        cells, known = self._cells(features)
        known &= influence.isfinite() & ~features.trusted
        found = influence[known].to(self.sums)
        if not found.any():
            return
        scaled = found / found.abs().mean().clamp(min=torch.finfo(found.dtype).tiny)
        for kept, added in ((self.sums, scaled), (self.counts, torch.ones_like(scaled))):
            kept.mul_(DECAY).view(-1).index_add_(0, cells[known], added)

    @torch.no_grad()
    def check(self) -> None:
        """Refuses sums and counts that no updates give, and that may turn all weights to 1 or to NaN.

        Raises:
            ValueError: a count below 0, or Σ|S| > ΣN: in an update the size of an influence is 1 in the mean.
        """
        size, count = self.sums.double().abs().sum(), self.counts.double().sum()
        if (self.counts < 0).any() or size > _ROUNDING * count:
            raise ValueError("what it knows of classes is nothing that influences can say")

    def _cells(self, features: Features) -> tuple[Int[Tensor, " batch"], Bool[Tensor, " batch"]]:
        """Where each sample belongs, and whether it belongs anywhere."""
        given, predicted = features.label.long(), features.predicted.long()
        columns = self.sums.shape[1]
        known = (given >= 0) & (given < self._n_classes) & (predicted >= 0) & (predicted < self._n_classes)
        column = predicted if columns == self._n_classes else (predicted == given).long()
        return (given * columns + column).where(known, 0), known
