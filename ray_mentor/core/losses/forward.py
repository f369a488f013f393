"""Forward correction (Patrini et al. 2017), its matrix as in Gold Loss Correction (Hendrycks et al. 2018)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn import functional

from ray_mentor.core.epoch import AtEpoch, EpochEnd
from ray_mentor.core.losses.base import GivenLabelLoss
from ray_mentor.core.losses.cross_entropy import cross_entropy
from ray_mentor.core.losses.numbers import require_within

WARM_UP = 0.15
"""Share of training after which T is there at the latest, as a mentor's burn-in ends."""

_ROUNDING = 1e-9  # of a sum of chances


@dataclass
class Forward(AtEpoch, GivenLabelLoss):
    """ℓ_i = −log (Tᵀp_i)_y: how likely the given label is, if a sample of class k is given label j with chance T_kj.

    So the student learns the true classes, whose labels went wrong on the way. T_k is the mean of what it predicts for
    the trusted samples of class k (those that are not held out) when warm-up ends: a student that was trained on given
    labels, and does not know them by heart yet, predicts how they fall. Until then, and for a class without a trusted
    sample, T is the identity, and ℓ the cross-entropy; for trusted samples, whose labels did not go wrong, it stays so.
    T is found once: from then on the student predicts true classes, and says no more of T.

    Args:
        epochs: of warm-up, >= 1; 15 % of training where that is less.
    """

    epochs: float = 5.0

    def __post_init__(self) -> None:
        require_within("forward", "epochs", self.epochs, 1)

    def at_epoch(self, end: EpochEnd) -> None:
        if self.state is None and (end.done >= self.epochs or end.progress >= WARM_UP):
            self.state = transition(end.predicted())

    def could_be(self, state: Tensor, n_classes: int) -> bool:
        is_table = state.shape == (n_classes, n_classes)
        return is_table and bool((state >= 0).all()) and bool(((state.sum(1) - 1).abs() < _ROUNDING).all())

    def __call__(
        self,
        logits: Float[Tensor, "batch classes"],
        labels: Int[Tensor, " batch"],
        trusted: Bool[Tensor, " batch"] | None = None,
    ) -> Float[Tensor, " batch"]:
        losses = cross_entropy(logits, labels)
        if self.state is None:
            return losses
        chances = self.state.to(logits)[:, labels].T  # T_ky of each sample and class k
        corrected = -torch.logsumexp(functional.log_softmax(logits, dim=1) + chances.log(), dim=1)
        return corrected if trusted is None else torch.where(trusted, losses, corrected)


def transition(predicted: Float[Tensor, "classes classes+1"]) -> Float[Tensor, "classes classes"]:
    """T: the mean prediction for each class, a row that sums to 1; of a class that there is no sample of, the identity.

    Args:
        predicted: sums of predictions by class, behind them how many samples these are.
    """
    sums, counts = predicted[:, :-1], predicted[:, -1:]
    rows = sums / sums.sum(1, keepdim=True)
    return torch.where(counts > 0, rows, torch.eye(len(sums), dtype=sums.dtype))
