"""Generalised cross-entropy (Zhang & Sabuncu 2018)."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from ray_mentor.core.epoch import AtEpoch, EpochEnd
from ray_mentor.core.losses.base import GivenLabelLoss
from ray_mentor.core.losses.cross_entropy import cross_entropy
from ray_mentor.core.losses.expected_error import expected_error
from ray_mentor.core.losses.numbers import require_within


@dataclass(frozen=True)
class GeneralisedCrossEntropy:
    """ℓ_i = (1 − p_y^q)/q: cross-entropy as q → 0, and half of :class:`MeanAbsoluteError` at q = 1.

    Its slope is p_y^q times that of cross-entropy, so that a label which the student finds impossible hardly counts.

    Args:
        q: in [0, 1].
    """

    q: float = 0.7

    def __post_init__(self) -> None:
        require_within("gce", "q", self.q, 0, 1)

    def __call__(
        self, logits: Float[Tensor, "batch classes"], labels: Int[Tensor, " batch"]
    ) -> Float[Tensor, " batch"]:
        return generalised(cross_entropy(logits, labels), self.q)


@dataclass
class TruncatedGCE(AtEpoch, GivenLabelLoss):
    """ℓ_i = L_q(max(p_y, k)), L_q as in :class:`GeneralisedCrossEntropy`: no slope where the student gives the label a
    chance of k or less.

    That is L_q with the weight 1[L_q(p_y) < L_q(k)], and a constant that keeps the loss one piece. It begins with the
    epoch after a share of training; before it, and for trusted samples, ℓ is L_q. Published, who is left out is decided
    every ten epochs; here at each visit.

    Args:
        q: in [0, 1].
        k: in [0, 1); 0 leaves out none.
        start: share of training, in [0, 1]; published 40 of 120 epochs.
    """

    q: float = 0.7
    k: float = 0.5
    start: float = 1 / 3

    def __post_init__(self) -> None:
        require_within("gce-truncated", "q", self.q, 0, 1)
        require_within("gce-truncated", "k", self.k, 0, 0.999999)
        require_within("gce-truncated", "start", self.start, 0, 1)

    def at_epoch(self, end: EpochEnd) -> None:
        if end.progress >= self.start:
            self.state = torch.ones((), dtype=torch.float64)

    def could_be(self, state: Tensor, n_classes: int) -> bool:
        return state.shape == () and float(state) == 1

    def __call__(
        self,
        logits: Float[Tensor, "batch classes"],
        labels: Int[Tensor, " batch"],
        trusted: Bool[Tensor, " batch"] | None = None,
    ) -> Float[Tensor, " batch"]:
        losses = cross_entropy(logits, labels)
        if self.state is not None and self.k > 0:
            counts = losses < -math.log(self.k)
            counts = counts if trusted is None else counts | trusted
            losses = torch.where(counts, losses, -math.log(self.k))
        return generalised(losses, self.q)


def generalised(losses: Float[Tensor, " batch"], q: float) -> Float[Tensor, " batch"]:
    """(1 − exp(−qℓ_i))/q, of cross-entropies; those themselves at q = 0."""
    return expected_error(q * losses) / q if q else losses
