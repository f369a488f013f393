"""An estimator whose influences are held against the step's own backward pass."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext

import torch
from jaxtyping import Float, Int
from torch import Tensor

from ray_mentor.config import MentorConfig
from ray_mentor.core.batch import MetaBatch
from ray_mentor.core.exchange import AbstractExchange
from ray_mentor.core.influence.added_up import NO_SUMS, Sums, over_all_ranks, refusal, sums_of
from ray_mentor.core.influence.coarsest import Coarsest
from ray_mentor.core.influence.estimators import AbstractEstimator
from ray_mentor.core.influence.taken_step import TakenStep
from ray_mentor.core.mentor.guards import Guards
from ray_mentor.core.step.gradient_rules.base import Gradient


class CheckedEstimator:
    """Asks an estimator, and says whether what it found may be learnt from; the same on all ranks.

    Args:
        guards: are told what came of it, and know whether influences of this run were ever found to add up.
    """

    def __init__(
        self, estimator: AbstractEstimator, settings: MentorConfig, exchange: AbstractExchange, guards: Guards
    ) -> None:
        self._estimator = estimator
        self._name = settings.estimator
        self._exchange = exchange
        self._guards = guards
        self._rounding = 0.0  # of the coarsest type in the student, as far as it was watched

    def __call__(
        self,
        steps: Sequence[TakenStep],
        meta: MetaBatch,
        direction: Gradient,
        chosen: Int[Tensor, " chosen"],
        losses: Float[Tensor, " own"],
        *,
        add_up: bool,
        watched: bool = False,
    ) -> tuple[Float[Tensor, " chosen"], bool]:
        """The influences along a direction, and whether they are sound. A collective call.

        Args:
            losses: of the first step's samples.
            add_up: whether they should: the influences of all samples of all ranks, of a single step.
            watched: look on how coarse the types in the student are.

        Raises:
            UserError: if they don't add up, and none of the run has done so far; on every rank.
            Exception: whatever the estimator raises; on the other ranks a UserError.
        """
        found = torch.zeros(0)
        own: Sums | Exception
        try:
            watch = Coarsest() if watched else None
            with watch or nullcontext():
                found = self._estimator(steps, meta, direction, chosen)
            self._rounding = watch.eps if watch else self._rounding
            own = self._sums(steps[0], direction, found, losses) if add_up else NO_SUMS
        except Exception as error:  # whatever it is, no rank must wait for this one
            own = error
        return found, self._are_sound(over_all_ranks(own, self._exchange))

    @property
    def said(self) -> tuple[Tensor, Tensor] | None:
        """As :attr:`~ray_mentor.core.influence.estimators.base.AbstractEstimator.said`."""
        return self._estimator.said

    @property
    def _rounding_known(self) -> float:
        return self._guards.rounding or self._rounding

    def _sums(self, step: TakenStep, direction: Gradient, found: Tensor, losses: Tensor) -> Sums:
        heard = step.before.gradient
        assert heard is not None
        expected = heard.along(direction) / self._exchange.world_size
        rounding = max(self._rounding_known, _eps(step.before.precision.autocast))
        noise = rounding * heard.rounding_along(direction) / self._exchange.world_size
        measured = self._estimator.is_measured
        return sums_of(found, step.normalised, losses, expected, noise, measured=measured, rounding=rounding)

    def _are_sound(self, sums: Sums) -> bool:
        if not sums.say_something:
            return True
        if sums.agree:
            self._guards.note_sound(self._rounding)
            return True
        if self._guards.rounding is None:
            raise refusal(sums, self._name)
        self._guards.count_inconsistent()
        return False


def _eps(autocast: torch.dtype | None) -> float:
    return float(torch.finfo(autocast).eps) if autocast else 0.0
