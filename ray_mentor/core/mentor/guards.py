"""What keeps a run sound while its mentor is not: equal weights in place of collapsed ones, and an end to its learning.

Two more look at meta updates: one that is not finite is skipped by the mentor's learner, whose count is read here, too;
and so is one whose influences do not add up (:mod:`ray_mentor.core.influence.added_up`).
"""

from __future__ import annotations

import dataclasses
import math
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from ray_mentor.config import MentorConfig
from ray_mentor.core.mentor.access import AbstractMentorAccess
from ray_mentor.core.mentor.class_shares import RunningClassShares
from ray_mentor.core.step.observation import Observation


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

    What is looked at in each step, and counted, stays on the student's device until somebody asks.

    Args:
        settings: the floors, and the patience.
        mentor: the one that learns; None for methods without, which need no guard.
        n_classes: that there are; 0: not known.
        keeps_shares: whether somebody else goes by the shares of classes, so that they are kept without a floor, too.

    Attributes:
        shares: of classes.
    """

    def __init__(
        self,
        settings: MentorConfig,
        mentor: AbstractMentorAccess | None,
        n_classes: int = 0,
        *,
        keeps_shares: bool = False,
    ) -> None:
        self._mentor = mentor
        self._keeps_shares = keeps_shares or settings.min_class_share > 0
        self.shares = RunningClassShares(n_classes)
        self.state = GuardState()
        self._normalisation = settings.normalisation
        self._min_effective_share = settings.min_effective_share
        self._min_class_share = settings.min_class_share
        self._patience = settings.mentor_patience

    def __repr__(self) -> str:
        counts = ("fallbacks", "skipped_updates", "inconsistent_updates", "updates_without_influence")
        return f"Guards({', '.join(f'{name}={getattr(self, name)}' for name in counts)})"

    @property
    def state(self) -> GuardState:
        """What a checkpoint holds, read from the device."""
        return dataclasses.replace(
            self._state,
            fallbacks=self.fallbacks,
            class_shares=self.shares.value,
            without_influence=self.updates_without_influence,
        )

    @state.setter
    def state(self, state: GuardState) -> None:
        self._state, self.shares.value = state, state.class_shares
        self._fallbacks: int | Tensor = state.fallbacks
        self._without: int | Tensor = state.without_influence

    @property
    def fallbacks(self) -> int:
        """Steps that were taken with equal weights, because the mentor's had collapsed; read from the device."""
        return int(self._fallbacks)

    @property
    def rounding(self) -> float | None:
        """Of the coarsest type in the student, once influences of this run were found to add up."""
        return self._state.rounding

    @property
    def skipped_updates(self) -> int:
        """Meta updates that left the mentor as it was, because they were not finite, or did not add up."""
        return 0 if self._mentor is None else self._mentor.skipped

    @property
    def inconsistent_updates(self) -> int:
        """Of those, the ones whose influences did not add up to what the step's own backward pass said."""
        return self._state.inconsistent

    @property
    def updates_without_influence(self) -> int:
        """Meta updates of which all influences were 0: with these alone, a mentor never learns."""
        return int(self._without)

    @property
    def stopped_at(self) -> int | None:
        """The step from which on the mentor learns no more; None while it does."""
        return self._state.stopped_at

    def collapsed(self, seen: Observation, scored: Float[Tensor, " batch"]) -> bool | Bool[Tensor, ""]:
        """Whether these weights, of the global batch before example dropout, are not to be trained with.

        Those of trusted samples, always 1, are left out: beside them a mentor that gives nothing would look sound.
        """
        if self._mentor is None:
            return False
        if scored.is_cpu:
            return self._collapsed_on_host(seen, scored.detach().double())
        asked, w = None if seen.trusted is None else ~seen.trusted, scored.double()
        count: int | Tensor = len(scored)
        if asked is not None:
            w, count = w.where(asked, 0.0), asked.sum()
        total = w.sum()
        mean, sound = total / count, total < torch.inf
        share = effective_share(mean, w.square().sum() / count, self._normalisation)
        found = ~(sound & (share >= self._min_effective_share))
        if self._keeps_shares and has_classes(seen):
            label = seen.features.label
            known = label >= 0 if asked is None else (label >= 0) & asked
            shut_out = self.shares.fall_below(self._min_class_share, w, label, known, mean, says=sound & (total != 0))
            found = found | shut_out
        return found if asked is None else found & asked.any()

    def _collapsed_on_host(self, seen: Observation, w: Float[Tensor, " batch"]) -> bool:
        """The same, where the host need not wait to know, but for the last bit of what the floor is held against."""
        count, known = len(w), None
        if seen.trusted is not None:
            w, known = w.masked_fill(seen.trusted, 0.0), ~seen.trusted.numpy()
            count = int(np.count_nonzero(known))
        weights = w.numpy()
        total, squares = float(w.sum()), float(np.dot(weights, weights))
        if not count or not total < math.inf:
            return count > 0
        mean = total / count
        share = mean * mean / max(squares / count, sys.float_info.min)
        found = not (min(share, mean) if self._normalisation == "batch" else share) >= self._min_effective_share
        if not self._keeps_shares or not has_classes(seen) or total == 0:
            return found
        return self.shares.fall_below_on_host(self._min_class_share, w, seen.features.label, known, mean) or found

    def count_fallback(self, overruled: bool | Bool[Tensor, ""] = True) -> None:
        """A step was taken, with equal weights where the mentor's had collapsed."""
        self._fallbacks = self._fallbacks + overruled

    def note_sound(self, rounding: float) -> None:
        """The influences of a step added up, as far as the rounding in the student allows."""
        if self._state.rounding is None:
            self._state = dataclasses.replace(self._state, rounding=rounding)

    def count_inconsistent(self) -> None:
        """The influences of a step did not add up; a meta update is skipped."""
        self._state = dataclasses.replace(self._state, inconsistent=self._state.inconsistent + 1)

    def note_influences(self, influence: Float[Tensor, " batch"]) -> None:
        """Takes in the influences of a meta update, NaN where there are none."""
        is_nan = influence.isnan()
        self._without = self._without + (~is_nan.all() & (is_nan | (influence == 0)).all())

    def note_holdout(self, loss: float, step: int) -> None:
        """Takes the held-out meta loss in at the end of an epoch; out of patience, the mentor stops.

        Args:
            step: the one that comes next.
        """
        before = self._state
        if loss < (math.inf if before.lowest_holdout is None else before.lowest_holdout):
            self._state = dataclasses.replace(before, lowest_holdout=loss, epochs_since=0)
            return
        since = before.epochs_since + 1
        stops = before.stopped_at is None and 0 < self._patience <= since
        stopped_at = step if stops else before.stopped_at
        self._state = dataclasses.replace(before, epochs_since=since, stopped_at=stopped_at)


def effective_share(mean: Float[Tensor, ""], square: Float[Tensor, ""], normalisation: str) -> Float[Tensor, ""]:
    """(Σw)²/(B·Σw²): 1 for equal weights, 1/B for all on one sample, 0 for none; under ``batch`` at most Σw/B, too.

    Args:
        mean: Σw/B.
        square: Σw²/B.
    """
    share = mean**2 / square.clamp(min=torch.finfo(square.dtype).tiny)
    return torch.minimum(share, mean) if normalisation == "batch" else share


def has_classes(seen: Observation) -> bool:
    """Whether targets are one class a sample."""
    return seen.batch.labels.ndim == 1 and not seen.batch.labels.is_floating_point()
