"""A step as data: the batch with its weights, and what the step did to it."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float, Int, Num
from torch import Tensor

from ray_mentor.core.arriving import Arriving
from ray_mentor.core.batch import Batch
from ray_mentor.core.step.observation import Observation, check_finite
from ray_mentor.core.step.said import UNSAID
from ray_mentor.core.step.students import mean_of_students


@dataclass(frozen=True)
class Weighed:
    """A batch with its sample weights.

    Attributes:
        seen: the batch as it was observed.
        scored: what the weighting said, of the global batch, in [0, 1]; of two students a column each, as below.
        keep: False where example dropout set the sample weight to 0; None where it let all samples be.
        overruled: whether the weights are equal because those of the mentor had collapsed; the host need not know.
        sample_weights: scored, after burn-in, guards and example dropout, of the global batch.
        normalised: ŵ of this rank's samples.
        loss: this rank's part of the weighted loss, with its graph; call ``backward`` on it.
        unmixed: the batch as it was weighed before it was mixed and weighed anew; None if it was not.
    """

    seen: Observation
    scored: Float[Tensor, "batch ..."]
    keep: Bool[Tensor, " batch"] | None
    overruled: bool | Bool[Tensor, ""]
    sample_weights: Float[Tensor, "batch ..."]
    normalised: Float[Tensor, "own ..."]
    loss: Float[Tensor, ""]
    unmixed: Weighed | None = None

    @functools.cached_property
    def noted(self) -> Arriving:
        """What the host will want to know of it; sent off when it is asked for first, before the backward pass."""
        seen, first = self.seen, self.unmixed or self
        noted = {
            "losses": first.seen.features.loss,
            "trained on": seen.losses.detach(),
            "scored": mean_of_students(seen.mine(first.scored)),
            "sample weights": mean_of_students(seen.mine(self.sample_weights)),
            "ids": seen.batch.ids,
        }
        if first.seen.said is not None:
            noted["said"] = first.seen.said
        if seen.trusted is not None:
            noted["trusted"] = seen.mine(seen.trusted)
        if seen.batch.labels.ndim == 1:
            noted["labels"] = seen.batch.labels
        if seen.batch.true_labels is not None:
            noted["true labels"] = seen.batch.true_labels
        return Arriving(noted)

    @functools.cached_property
    def is_finite(self) -> bool:
        """Whether all its losses are, on any rank; waits until they have arrived."""
        seen, trained_on = self.noted["losses"], self.noted["trained on"]
        return _are_finite(seen) and (trained_on.data_ptr() == seen.data_ptr() or _are_finite(trained_on))

    @functools.cached_property
    def mean_and_error(self) -> tuple[float, float]:
        """Of all ranks' losses, as they were seen, the mean, and its standard error; 0 where one says nothing of it.

        Waits until they have arrived.
        """
        losses = self.noted["losses"]
        mean, n = float(losses.mean()), len(losses)
        return mean, float(losses.std()) / n**0.5 if n > 1 else 0.0

    def check_finite(self, step: int) -> None:
        """Refuses losses that are NaN or infinite; waits until they have arrived.

        Raises:
            NonFiniteLossError: on every rank, if a loss on any rank is; naming the samples.
        """
        if self.is_finite:
            return
        check_finite(self.noted["losses"], self.seen.ids.cpu(), step)
        check_finite(mean_of_students(self.noted["trained on"]), self.noted["ids"], step)


def _are_finite(losses: Tensor) -> bool:
    """Of a tensor on the host; without an operator."""
    values = losses if losses.dtype in (torch.float32, torch.float64) else losses.float()
    return bool(np.isfinite(values.numpy()).all())


@dataclass(frozen=True)
class StepRecord:
    """What one step did to this rank's samples, those of the trusted set left out: a block of ledger rows.

    All but ``batch`` lies on the host. Where there are two students, losses and weights are the means over both.

    Attributes:
        step: the global step, from 0.
        whole: the samples as the student learnt from them, trusted ones included, where they were.
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
        ids: sample ids.
        labels: given labels; None where they are more than one number a sample.
        true_labels: where they are known.
        rows: the samples of ``whole`` that are not trusted; None: all.
        trusted_said: label and predicted label of each trusted one; None where there are none, or nothing is said.
        class_factor: what each loss was multiplied by for its class's sake, beside the sample weight; None: nothing.
        hypergradients: ∂M(θ')/∂h by setting, where a meta update looked at the step: how far M would have risen, to
            first order, had the setting been larger in this one step.
    """

    step: int
    whole: Batch
    losses: Float[Tensor, " own"]
    scored: Float[Tensor, " own"]
    sample_weights: Float[Tensor, " own"]
    influence: Float[Tensor, " own"]
    predicted_label: Int[Tensor, " own"]
    margin: Float[Tensor, " own"]
    meta_loss: float | None
    ids: Int[Tensor, " own"]
    labels: Num[Tensor, " own"] | None
    true_labels: Int[Tensor, " own"] | None
    rows: Int[Tensor, " own"] | None = None
    trusted_said: Int[Tensor, "trusted 2"] | None = None
    class_factor: Float[Tensor, " own"] | None = None
    hypergradients: Mapping[str, float] = field(default_factory=dict)

    @functools.cached_property
    def batch(self) -> Batch:
        """The samples, without the trusted ones; cut out of the step's batch, inputs and all, when it is asked for."""
        return self.whole if self.rows is None else self.whole[self.rows]

    def without_samples(self) -> StepRecord:
        """It with none of them."""
        none = slice(0, 0)
        columns: dict[str, Any] = {
            name: value[none]
            for name, value in vars(self).items()
            if name not in ("rows", "whole") and isinstance(value, Tensor)
        }
        return dataclasses.replace(self, **columns, rows=torch.zeros(0, dtype=torch.int64))

    @property
    def in_training(self) -> Int[Tensor, " own"]:
        """Their rows of the training split."""
        return self.whole.rows if self.rows is None else self.whole.rows[self.rows]


def record_of(
    step: int,
    weighed: Weighed,
    influence: Float[Tensor, " batch"] | None,
    meta_loss: float | None,
    factors: Float[Tensor, " classes"] | None = None,
    hypergradients: Mapping[str, Float[Tensor, ""]] | None = None,
) -> StepRecord:
    """What is taken down of a step; of a batch that was weighed twice, what was said of the samples as they are.

    Args:
        influence: of the global batch; None: not computed.
        factors: on the losses of each class; None: there are none.
        hypergradients: by setting; what is not finite is left out.
    """
    seen, noted = weighed.seen, weighed.noted
    losses, said, trusted = seen.mine(noted["losses"]), noted.get("said"), noted.get("trusted")
    rows = None if trusted is None else _untrusted(trusted)
    if said is None:
        predicted, margin = torch.full((len(losses),), UNSAID), torch.full((len(losses),), torch.nan)
    else:
        predicted, margin = said.unbind(dim=1)

    slopes = hypergradients or {}
    found = None if influence is None else Arriving({"influence": seen.mine(influence), **slopes})

    def of(column: Tensor) -> Tensor:
        return column if rows is None else column[rows]

    labels, truth = noted.get("labels"), noted.get("true labels")
    trusted_said = None
    if rows is not None and trusted is not None and said is not None and labels is not None:
        trusted_said = torch.stack([labels, predicted.to(labels.dtype)], dim=1)[trusted]
    return StepRecord(
        step=step,
        whole=seen.batch,
        losses=of(losses),
        scored=of(noted["scored"]),
        sample_weights=of(noted["sample weights"]),
        influence=of(torch.full_like(losses, torch.nan) if found is None else found["influence"]),
        predicted_label=of(predicted).to(torch.int32),
        margin=of(margin).float(),
        meta_loss=meta_loss,
        ids=of(noted["ids"]),
        labels=None if labels is None else of(labels),
        true_labels=None if truth is None else of(truth),
        rows=rows,
        trusted_said=trusted_said,
        class_factor=None if labels is None or factors is None else factors[of(labels)].float(),
        hypergradients={name: value for name in slopes if found and np.isfinite(value := found[name].numpy().item())},
    )


def _untrusted(trusted: Bool[Tensor, " own"]) -> Int[Tensor, " rows"] | None:
    """Rows that are not; None: all. Of a tensor on the host; without an operator."""
    rows = np.flatnonzero(~trusted.numpy())
    return None if len(rows) == len(trusted) else torch.from_numpy(rows)
