"""A step as data: the batch with its weights, and what the step did to it."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from ray_mentor.core.batch import Batch
from ray_mentor.core.step.observation import Observation
from ray_mentor.core.step.said import unsaid
from ray_mentor.core.step.students import mean_of_students


@dataclass(frozen=True)
class Weighed:
    """A batch with its sample weights.

    Attributes:
        seen: the batch as it was observed.
        scored: what the weighting said, of the global batch, in [0, 1]; of two students a column each, as below.
        keep: False where example dropout set the sample weight to 0.
        overruled: whether the weights are equal because those of the mentor had collapsed.
        sample_weights: scored, after burn-in, guards and example dropout, of the global batch.
        normalised: ŵ of this rank's samples.
        loss: this rank's part of the weighted loss, with its graph; call ``backward`` on it.
        unmixed: the batch as it was weighed before it was mixed and weighed anew; None if it was not.
    """

    seen: Observation
    scored: Float[Tensor, "batch ..."]
    keep: Bool[Tensor, " batch"]
    overruled: bool
    sample_weights: Float[Tensor, "batch ..."]
    normalised: Float[Tensor, "own ..."]
    loss: Float[Tensor, ""]
    unmixed: Weighed | None = None


@dataclass(frozen=True)
class StepRecord:
    """What one step did to this rank's samples, those of the trusted set left out: a block of ledger rows.

    Where there are two students, losses and weights are the means over both.

    Attributes:
        step: the global step, from 0.
        batch: the samples.
        losses: per-sample losses before the step; of a batch that was mixed by weight, as they were unmixed.
        scored: what the weighting said, in [0, 1].
        sample_weights: what the student was trained with: scored, after burn-in, guards and example dropout.
        influence: s_i = ∂M/∂ŵ_i; NaN where none was computed, or what was is not finite or does not add up; below 0
            where M, on this one meta batch and to first order, would have fallen if the sample had counted more. All
            NaN with an estimator that looks more than one step ahead: it looks when this record is already there.
        predicted_label: argmax of what the student said before the step, of the pass that ``losses`` are of; −1 where
            its output isn't class logits, or wasn't shown. Of two students by the mean of their probabilities.
        margin: z_given − max of the others, likewise; NaN where it is not known.
        meta_loss: M(θ') over the global meta batch; None without a meta update, or if not finite.
    """

    step: int
    batch: Batch
    losses: Float[Tensor, " own"]
    scored: Float[Tensor, " own"]
    sample_weights: Float[Tensor, " own"]
    influence: Float[Tensor, " own"]
    predicted_label: Int[Tensor, " own"]
    margin: Float[Tensor, " own"]
    meta_loss: float | None


def record_of(step: int, weighed: Weighed, influence: Float[Tensor, " batch"], meta_loss: float | None) -> StepRecord:
    """What is taken down of a step; of a batch that was weighed twice, what was said of the samples as they are.

    Args:
        influence: of the global batch.
    """
    seen, first = weighed.seen, weighed.unmixed or weighed
    trusted = seen.features.trusted[seen.own]
    rows = (~trusted).nonzero()[:, 0] if trusted.any() else slice(None)
    said = unsaid(len(seen.batch)) if first.seen.said is None else first.seen.said
    return StepRecord(
        step=step,
        batch=seen.batch if isinstance(rows, slice) else seen.batch[rows],
        losses=first.seen.features.loss[seen.own][rows],
        scored=mean_of_students(first.scored[seen.own][rows]),
        sample_weights=mean_of_students(weighed.sample_weights[seen.own][rows]),
        influence=influence[seen.own][rows],
        predicted_label=said[rows, 0].to(torch.int32),
        margin=said[rows, 1].float(),
        meta_loss=meta_loss,
    )
