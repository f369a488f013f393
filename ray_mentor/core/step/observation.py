"""What a step knows before it weighs: this rank's losses, and the features of the whole batch."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Bool, Float, Int, Shaped
from torch import Tensor

from ray_mentor.core.batch import Batch
from ray_mentor.core.exchange import AbstractExchange
from ray_mentor.core.history.table import LossHistory, filled
from ray_mentor.core.step.features import Features
from ray_mentor.core.step.gathered import gathered
from ray_mentor.core.step.percentile import RunningPercentile
from ray_mentor.core.step.said import UNSAID
from ray_mentor.core.step.students import mean_of_students
from ray_mentor.core.step.units import RunningUnits, Units
from ray_mentor.errors import NonFiniteLossError, UserError


@dataclass(frozen=True)
class Observation:
    """The first half of the picture: batch → student → per-sample losses → features.

    What is global holds the same rows on every rank, in rank order. All but ids and true labels, which may be anywhere,
    lies on the student's device, and nothing has waited for it.

    Attributes:
        batch: this rank's samples, as the student learns from them.
        losses: this rank's per-sample losses, with their graph; of two students a column each.
        features: of the global batch; where it was mixed by weight, as it was unmixed. Of two students' losses they see
            the mean.
        ids: of the global batch's samples.
        truth: true labels of the global batch; None where they are not known.
        rank_sizes: rows per rank.
        own: this rank's rows of the global batch.
        trusted: as the features have it; None where the host knows that none is.
        groups: of the global batch's samples; None where nobody says.
        units: that a mentor is shown losses in; None: as they are.
        slopes: ⟨∇M(θ), ∇ℓ_i⟩ of each sample of the global batch; None where no weighting needs them.
        of_students: the losses of the global batch that each of two students has; None where there is one.
        remembered: what was kept of the global batch's samples for what is found out each epoch, NaN at the first
            visit; None where nothing is.
        epochs: passes over the samples so far, the one that is under way as a fraction.
        outputs: what the student said of this rank's samples where it looked at them first, without a graph; else None.
        said: predicted label and margin of this rank's samples (:mod:`~ray_mentor.core.step.said`), as they were
            unmixed where they were mixed by weight; −1 and NaN where that is not known.
    """

    batch: Batch
    losses: Float[Tensor, "own ..."]
    features: Features
    ids: Int[Tensor, " batch"]
    truth: Int[Tensor, " batch"] | None
    rank_sizes: tuple[int, ...]
    own: slice
    trusted: Bool[Tensor, " batch"] | None = None
    units: Units | None = None
    slopes: Float[Tensor, " batch"] | None = None
    of_students: Float[Tensor, "batch 2"] | None = None
    remembered: Float[Tensor, "batch keeps"] | None = None
    epochs: float = 0.0
    outputs: Any = None
    said: Float[Tensor, "own 2"] | None = None
    groups: Int[Tensor, " batch"] | None = None

    @property
    def clean(self) -> Bool[Tensor, " batch"] | None:
        """Whether each given label of the global batch is true; None where the truth is not known."""
        return None if self.truth is None else self.features.label == self.truth.to(self.features.label.device)

    def mine(self, values: Shaped[Tensor, "batch ..."]) -> Shaped[Tensor, "own ..."]:
        """This rank's rows of what is known of the global batch."""
        return values if self.own.stop - self.own.start == values.shape[0] else values[self.own]

    @property
    def shown(self) -> Features:
        """The features as a mentor sees them."""
        return self.features if self.units is None else self.units.of(self.features)


def observe(
    batch: Batch,
    losses: Float[Tensor, "own ..."],
    exchange: AbstractExchange,
    percentile: RunningPercentile,
    history: LossHistory,
    progress: float,
    units: RunningUnits | None = None,
    shown: Float[Tensor, " own"] | None = None,
    said: Float[Tensor, "own 2"] | None = None,
    epochs: float = 0.0,
) -> Observation:
    """Exchanges per-sample scalars with the other ranks and makes features of them; the device is not waited for.

    Args:
        units: of a loss that is not in nats.
        shown: losses that features are made of; None: those that the student is trained on.
        said: predicted label and margin, on the student's device.
        epochs: passes over the samples so far.

    Raises:
        UserError: on every rank, if there is no sample on any.
    """
    sizes = batch.rank_sizes or exchange.sizes(len(batch))
    if not any(sizes):
        raise UserError("the batch holds no sample; leave it out, on every rank alike")
    looked_at = (losses if shown is None else shown.where(losses.isfinite(), losses)).detach()

    def unknown() -> Int[Tensor, " own"]:
        return torch.full((len(batch),), UNSAID, device=losses.device)

    label = batch.labels if batch.labels.ndim == 1 else unknown()  # a mentor can see a class, not a mask or a text
    predicted = unknown() if said is None else said[:, 0]
    both = list(looked_at.to(losses.dtype).unbind(dim=1)) if looked_at.ndim == 2 else []
    loss = mean_of_students(looked_at.double() if both else looked_at).to(losses.dtype)
    ids, truth, trusted = batch.ids, batch.true_labels, batch.trusted
    of_groups = [] if batch.groups is None else [batch.groups.to(losses.device, non_blocking=True)]
    columns: list[Tensor] = [loss, label, predicted, *of_groups, *both]
    if exchange.world_size > 1:  # a rank may know what another doesn't
        truth = unknown() if truth is None else truth
        trusted = torch.zeros_like(unknown()) if trusted is None else trusted
        columns += [column.to(losses.device, non_blocking=True) for column in (ids, truth, trusted)]
    columns, rows, past = gathered(columns, batch, sizes, history, exchange)
    if exchange.world_size > 1:
        *columns, ids, truth, trusted = columns
    loss, label, predicted, *both = columns
    of_groups, both = both[: len(of_groups)], both[len(of_groups) :]
    trusted = None if trusted is None else trusted.bool()
    features = Features(
        loss=loss,
        loss_difference=loss - percentile.update(loss, trusted),
        label=label.long(),
        progress=torch.full_like(loss, progress),
        history=filled(past, loss),
        trusted=trusted,  # type: ignore[arg-type]  # it makes one where there is none
        predicted=predicted.long(),
    )
    in_units = None if units is None else units.update(loss, features.loss_difference, trusted)
    history.push(rows, loss)
    start = sum(sizes[: exchange.rank])
    return Observation(
        batch,
        losses,
        features,
        ids,
        None if batch.true_labels is None else truth,
        sizes,
        slice(start, start + sizes[exchange.rank]),
        trusted,
        in_units,
        of_students=torch.stack(both, dim=1) if both else None,
        epochs=epochs,
        said=said,
        groups=of_groups[0] if of_groups else None,
    )


def again_observed(
    seen: Observation, shown: Float[Tensor, " own"], exchange: AbstractExchange, percentile: RunningPercentile
) -> Observation:
    """The batch as it is now, mixed, with features of its own; neither percentile nor history takes it in.

    Args:
        shown: this rank's losses that features are made of.
    """
    loss = exchange.gather(shown.detach().double()[:, None], seen.rank_sizes)[:, 0].to(seen.features.loss)
    features = dataclasses.replace(seen.features, loss=loss, loss_difference=loss - percentile.level)
    return dataclasses.replace(seen, features=features)


def check_finite(loss: Float[Tensor, " batch"], ids: Int[Tensor, " batch"], step: int) -> None:
    """Refuses losses that are NaN or infinite.

    Raises:
        NonFiniteLossError: naming the samples.
    """
    bad = ~loss.isfinite()
    if bad.any():
        names = ", ".join(str(int(i)) for i in ids[bad][:5])
        raise NonFiniteLossError(
            f"the loss is not finite at step {step} for {int(bad.sum())} of {len(loss)} samples (sample ids {names}"
            f"{', ...' if bad.sum() > 5 else ''}); the student was not updated. Lower the learning rate, or look at "
            f"these samples' inputs"
        )
