"""Losses: logits and labels to one loss a sample."""

from __future__ import annotations

from typing import Any

from jaxtyping import Float
from torch import Tensor, nn

from ray_mentor.core.batch import Batch, outputs_of
from ray_mentor.core.losses.base import GivenLabelLoss, PerSampleLoss, TargetLoss
from ray_mentor.core.losses.by_size.class_factor import ClassBalanced
from ray_mentor.core.losses.by_size.over_classes import MeanOverClasses
from ray_mentor.core.losses.by_size.sized import BySize
from ray_mentor.core.losses.cross_entropy import cross_entropy
from ray_mentor.core.losses.expected_error import ExpectedError, expected_error, values_of
from ray_mentor.core.losses.named import CROSS_ENTROPY, ROBUST, make_loss, reweighted
from ray_mentor.core.losses.of_both import OfBoth, mean_of_views
from ray_mentor.core.student.inputs import unwritten


def per_sample_losses(student: nn.Module, loss: PerSampleLoss, batch: Batch) -> Float[Tensor, " batch"]:
    """The student's loss on each sample; a mixed sample's is λ·ℓ(z, y) + (1 − λ)·ℓ(z, y′).

    Raises:
        UserError: a student that writes over its inputs.
        ValueError: if ``loss`` does not return one value per sample.
    """
    return losses_of(passed_through(student, batch), loss, batch)


def passed_through(student: nn.Module, batch: Batch) -> Any:
    """What the student returns for a batch.

    Raises:
        UserError: a student that writes over its inputs.
    """
    with unwritten(batch.inputs):
        return outputs_of(student, batch.inputs)


def losses_of(outputs: Any, loss: PerSampleLoss, batch: Batch) -> Float[Tensor, "batch ..."]:
    """As :func:`per_sample_losses`, from outputs that are already there; of two students a column each.

    Raises:
        ValueError: if ``loss`` does not return one value per sample.
    """
    if isinstance(loss, OfBoth):
        return loss(outputs, batch.labels)
    if isinstance(loss, TargetLoss):
        return _one_each(loss(outputs, batch.labels, batch.targets), batch)
    losses = _given(outputs, loss, batch, batch.labels, batch.trusted)
    if batch.share is None or batch.partner_labels is None:
        return losses
    theirs = _given(outputs, loss, batch, batch.partner_labels, batch.partner_trusted)
    return batch.share * losses + (1 - batch.share) * theirs


def _given(outputs: Any, loss: PerSampleLoss, batch: Batch, labels: Tensor, trusted: Tensor | None) -> Tensor:
    """Of labels that were given, or are known to be right."""
    found = loss(outputs, labels, trusted) if isinstance(loss, GivenLabelLoss) else loss(outputs, labels)
    return _one_each(found, batch)


def _one_each(losses: Tensor, batch: Batch) -> Tensor:
    if losses.shape != (len(batch),):
        raise ValueError(
            f"the loss returned shape {tuple(losses.shape)} for {len(batch)} samples, but it must return one value "
            f"per sample, shape ({len(batch)},); e.g. give reduction='none'"
        )
    return losses


__all__ = [
    "CROSS_ENTROPY",
    "ROBUST",
    "BySize",
    "ClassBalanced",
    "MeanOverClasses",
    "ExpectedError",
    "OfBoth",
    "PerSampleLoss",
    "TargetLoss",
    "cross_entropy",
    "expected_error",
    "losses_of",
    "make_loss",
    "mean_of_views",
    "passed_through",
    "per_sample_losses",
    "reweighted",
    "values_of",
]
