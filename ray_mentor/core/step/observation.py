"""What a step knows before it weighs: this rank's losses, and the features of the whole batch."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from ray_mentor.core.batch import Batch
from ray_mentor.core.exchange import AbstractExchange
from ray_mentor.core.history.table import LossHistory, filled
from ray_mentor.core.step.features import Features
from ray_mentor.core.step.gathered import gathered
from ray_mentor.core.step.percentile import RunningPercentile
from ray_mentor.core.step.said import unsaid
from ray_mentor.core.step.students import mean_of_students
from ray_mentor.core.step.units import RunningUnits, Units
from ray_mentor.errors import NonFiniteLossError, UserError


@dataclass(frozen=True)
class Observation:
    """The first half of the picture: batch → student → per-sample losses → features.

    What is global holds the same rows on every rank, in rank order, on the CPU.

    Attributes:
        batch: this rank's samples, as the student learns from them.
        losses: this rank's per-sample losses, with their graph; of two students a column each.
        features: of the global batch; where it was mixed by weight, as it was unmixed. Of two students' losses they see
            the mean.
        clean: whether each given label of the global batch is true; None where the truth is not known.
        rank_sizes: rows per rank.
        own: this rank's rows of the global batch.
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
    clean: Bool[Tensor, " batch"] | None
    rank_sizes: tuple[int, ...]
    own: slice
    units: Units | None = None
    slopes: Float[Tensor, " batch"] | None = None
    of_students: Float[Tensor, "batch 2"] | None = None
    remembered: Float[Tensor, "batch keeps"] | None = None
    epochs: float = 0.0
    outputs: Any = None
    said: Float[Tensor, "own 2"] | None = None

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
    step: int,
    progress: float,
    units: RunningUnits | None = None,
    shown: Float[Tensor, " own"] | None = None,
    said: Float[Tensor, "own 2"] | None = None,
) -> Observation:
    """Exchanges per-sample scalars with the other ranks and makes features of them.

    Args:
        units: of a loss that is not in nats.
        shown: losses that features are made of; None: those that the student is trained on.
        said: predicted label and margin, on the student's device.

    Raises:
        NonFiniteLossError: on every rank, if a loss on any rank is NaN or infinite.
        UserError: on every rank, if there is no sample on any.
    """
    unknown = torch.full((len(batch),), -1)
    truth = unknown if batch.true_labels is None else batch.true_labels
    label = batch.labels if batch.labels.ndim == 1 else unknown  # a mentor can see a class, not a mask or a text
    trusted = torch.zeros(len(batch)) if batch.trusted is None else batch.trusted
    looked_at = losses if shown is None else shown.where(losses.isfinite(), losses)
    looked_at, said = _on_host(looked_at.detach().double(), said)
    of_students = looked_at.unbind(dim=1) if looked_at.ndim == 2 else ()
    columns = [mean_of_students(looked_at), label, truth, batch.rows, batch.ids, trusted, said[:, 0], *of_students]
    sizes = batch.rank_sizes or exchange.sizes(len(batch))
    if not any(sizes):
        raise UserError("the batch holds no sample; leave it out, on every rank alike")
    own = torch.stack([column.double().cpu() for column in columns], dim=1)
    table, past = gathered(own, batch, sizes, history, exchange)
    loss, label, true_label, rows, ids, is_trusted, predicted = table[:, :_SHARED].unbind(dim=1)
    check_finite(loss, ids, step)
    loss = loss.to(losses.dtype)
    features = Features(
        loss=loss,
        loss_difference=loss - percentile.update(loss[~is_trusted.bool()]),
        label=label.long(),
        progress=torch.full_like(loss, progress),
        history=filled(past, loss),
        trusted=is_trusted.bool(),
        predicted=predicted.long(),
    )
    in_units = None
    if units is not None:
        asked = ~features.trusted
        in_units = units.update(loss[asked], features.loss_difference[asked])
    history.push(rows.long(), loss)
    start = sum(sizes[: exchange.rank])
    return Observation(
        batch,
        losses,
        features,
        None if batch.true_labels is None else label == true_label,
        sizes,
        slice(start, start + sizes[exchange.rank]),
        in_units,
        of_students=table[:, _SHARED:].to(losses.dtype) if of_students else None,
        said=said,
    )


def _on_host(
    losses: Float[Tensor, "own ..."], said: Float[Tensor, "own 2"] | None
) -> tuple[Float[Tensor, "own ..."], Float[Tensor, "own 2"]]:
    """Both by one read of the device, which waits for it."""
    if said is None:
        return losses.cpu(), unsaid(len(losses))
    both = torch.cat([losses.reshape(len(losses), -1), said], dim=1).cpu()
    return both[:, :-2].reshape(losses.shape), both[:, -2:]


_SHARED = 7  # columns that there are with one student and with two


def again_observed(
    seen: Observation, shown: Float[Tensor, " own"], exchange: AbstractExchange, percentile: RunningPercentile
) -> Observation:
    """The batch as it is now, mixed, with features of its own; neither percentile nor history takes it in.

    Args:
        shown: this rank's losses that features are made of.
    """
    loss = exchange.gather(shown.detach().double().cpu()[:, None], seen.rank_sizes)[:, 0].to(seen.features.loss)
    features = dataclasses.replace(seen.features, loss=loss, loss_difference=loss - (percentile.value or 0.0))
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
