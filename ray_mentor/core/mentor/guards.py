"""What keeps a run sound while its mentor is not: equal weights in place of collapsed ones, and an end to its learning.

Two more look at meta updates: one that is not finite is skipped by the mentor's learner, whose count is read here, too;
and so is one whose influences do not add up (:mod:`ray_mentor.core.influence.added_up`).
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from jaxtyping import Float, Int
from torch import Tensor

from ray_mentor.config import MentorConfig
from ray_mentor.core.mentor.access import AbstractMentorAccess
from ray_mentor.core.step.observation import Observation

MEMORY = 16
"""Samples of a class that its running share remembers, roughly. A batch alone says too little of a class: with 40 %
wrong labels, one in 1,500 groups of eight samples is wrong to the last label, and its weights are rightly near 0.
Measured on digits, smallest share of a run: 0.44 to 0.68 in nine sound ones (up to 60 % wrong labels), 0.0002 and less
in three that shut classes out."""


@dataclass(frozen=True)
class GuardState:
    """What the guards carry from one step to the next.

    Attributes:
        fallbacks: steps that were taken with equal weights, because the mentor's had collapsed.
        class_shares: of each given class, the running mean of its mean weight over the mean weight of its batch.
        lowest_holdout: smallest held-out meta loss so far; None before the first.
        epochs_since: epochs since that one.
        stopped_at: the step from which on the mentor learns no more; None while it does.
        inconsistent: meta updates that were skipped, because the influences did not add up.
        without_influence: meta updates of which all influences were 0.
        rounding: of the coarsest type in the student, relative, once influences of this run were found to add up; None
            before.
    """

    fallbacks: int = 0
    class_shares: Mapping[int, float] = field(default_factory=dict)
    lowest_holdout: float | None = None
    epochs_since: int = 0
    stopped_at: int | None = None
    inconsistent: int = 0
    without_influence: int = 0
    rounding: float | None = None


class Guards:
    """Watches over one mentor; the same decisions on all ranks, since all it sees is global.

    A step whose weights have collapsed is taken with equal ones. The mentor learns from it all the same: an influence
    at equal weights is as true of its sample as any, and a mentor that learnt from none of its failures could stay
    collapsed for good. (In burn-in it does not learn because the student's first steps mislead, not because its weights
    are not in use.) Only where the sigmoid is so flat that its slope is 0 in float32 does learning not help; such a
    run ends with equal weights, and its count says so.

    Weights that are all alike, all 1 or all small, are no collapse: equal weights would be no other.

    Args:
        settings: the floors, and the patience.
        mentor: the one that learns; None for methods without, which need no guard.

    Attributes:
        state: what a checkpoint holds.
    """

    def __init__(self, settings: MentorConfig, mentor: AbstractMentorAccess | None) -> None:
        self.state = GuardState()
        self._mentor = mentor
        self._normalisation = settings.normalisation
        self._min_effective_share = settings.min_effective_share
        self._min_class_share = settings.min_class_share
        self._patience = settings.mentor_patience

    def __repr__(self) -> str:
        counts = ("fallbacks", "skipped_updates", "inconsistent_updates", "updates_without_influence")
        return f"Guards({', '.join(f'{name}={getattr(self, name)}' for name in counts)})"

    @property
    def fallbacks(self) -> int:
        """Steps that were taken with equal weights, because the mentor's had collapsed."""
        return self.state.fallbacks

    @property
    def skipped_updates(self) -> int:
        """Meta updates that left the mentor as it was, because they were not finite, or did not add up."""
        return 0 if self._mentor is None else self._mentor.skipped

    @property
    def inconsistent_updates(self) -> int:
        """Of those, the ones whose influences did not add up to what the step's own backward pass said."""
        return self.state.inconsistent

    @property
    def updates_without_influence(self) -> int:
        """Meta updates of which all influences were 0: with these alone, a mentor never learns."""
        return self.state.without_influence

    @property
    def stopped_at(self) -> int | None:
        """The step from which on the mentor learns no more; None while it does."""
        return self.state.stopped_at

    def collapsed(self, seen: Observation, scored: Float[Tensor, " batch"]) -> bool:
        """Whether these weights, of the global batch before example dropout, are not to be trained with.

        Those of trusted samples, always 1, are left out: beside them a mentor that gives nothing would look sound.
        """
        asked = ~seen.features.trusted
        if self._mentor is None or not asked.any():
            return False
        w = scored[asked].double()
        if not w.isfinite().all():
            return True
        shut_out = self._shuts_out_a_class(seen, w)
        return shut_out or effective_share(w, self._normalisation) < self._min_effective_share

    def count_fallback(self) -> None:
        """A step was taken with equal weights."""
        self.state = dataclasses.replace(self.state, fallbacks=self.state.fallbacks + 1)

    def note_sound(self, rounding: float) -> None:
        """The influences of a step added up, as far as the rounding in the student allows."""
        if self.state.rounding is None:
            self.state = dataclasses.replace(self.state, rounding=rounding)

    def count_inconsistent(self) -> None:
        """The influences of a step did not add up; a meta update is skipped."""
        self.state = dataclasses.replace(self.state, inconsistent=self.state.inconsistent + 1)

    def note_influences(self, influence: Float[Tensor, " batch"]) -> None:
        """Takes in the influences of a meta update, NaN where there are none."""
        known = influence[~influence.isnan()]
        if len(known) and not known.any():
            self.state = dataclasses.replace(self.state, without_influence=self.state.without_influence + 1)

    def note_holdout(self, loss: float, step: int) -> None:
        """Takes the held-out meta loss in at the end of an epoch; out of patience, the mentor stops.

        Args:
            step: the one that comes next.
        """
        before = self.state
        if loss < (math.inf if before.lowest_holdout is None else before.lowest_holdout):
            self.state = dataclasses.replace(before, lowest_holdout=loss, epochs_since=0)
            return
        since = before.epochs_since + 1
        stops = before.stopped_at is None and 0 < self._patience <= since
        stopped_at = step if stops else before.stopped_at
        self.state = dataclasses.replace(before, epochs_since=since, stopped_at=stopped_at)

    def _shuts_out_a_class(self, seen: Observation, w: Float[Tensor, " batch"]) -> bool:
        labels = given_classes(seen)
        if self._min_class_share == 0 or labels is None or w.sum() == 0:
            return False
        shares = dict(self.state.class_shares)
        batch = class_shares(w, labels[~seen.features.trusted])
        for label, (count, share) in batch.items():
            before = shares.get(label, 1.0)
            shares[label] = before + count / (count + MEMORY) * (share - before)
        self.state = dataclasses.replace(self.state, class_shares=shares)
        return any(shares[label] < self._min_class_share for label in batch)


def effective_share(w: Float[Tensor, " batch"], normalisation: str) -> float:
    """(Σw)²/(B·Σw²): 1 for equal weights, 1/B for all on one sample, 0 for none; under ``batch`` at most Σw/B, too."""
    mean, square = float(w.mean()), float(w.square().mean())
    share = mean**2 / square if square > 0 else 0.0
    return min(share, mean) if normalisation == "batch" else share


def class_shares(w: Float[Tensor, " batch"], labels: Int[Tensor, " batch"]) -> dict[int, tuple[int, float]]:
    """Of each class: how many samples it has, and their mean weight over that of the batch; Σw must not be 0."""
    known = labels >= 0
    classes, place, counts = torch.unique(labels[known], return_inverse=True, return_counts=True)
    sums = w.new_zeros(len(classes)).index_add_(0, place, w[known])
    shares = sums / counts / w.mean()
    return dict(zip(classes.tolist(), zip(counts.tolist(), shares.tolist(), strict=True), strict=True))


def given_classes(seen: Observation) -> Int[Tensor, " batch"] | None:
    """The given class of each sample of the global batch, -1 where it has none; None where targets are no classes."""
    return None if seen.batch.labels.is_floating_point() else seen.features.label
