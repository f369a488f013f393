"""The lower half of the picture: meta batch → meta gradient → influences → mentor step, every k steps."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Collection
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from ray_mentor.config import MentorConfig
from ray_mentor.core.batch import MetaBatch
from ray_mentor.core.exchange import AbstractExchange
from ray_mentor.core.influence.estimators import AbstractEstimator, make_estimator
from ray_mentor.core.influence.meta_gradient import meta_gradient, step_direction
from ray_mentor.core.influence.taken_step import Before, TakenStep, dense_gradient_of, remember
from ray_mentor.core.losses import ExpectedError
from ray_mentor.core.mentor.learner import MetaUpdate
from ray_mentor.core.methods.parts import Parts
from ray_mentor.core.step.gradient_rules.base import Gradient
from ray_mentor.core.step.record import Weighed
from ray_mentor.core.student.precision import Precision

Draw = Callable[[str, int], torch.Generator]
"""(purpose, rank) -> randomness of the step that is under way."""


@dataclass(frozen=True)
class Awaited:
    """A weighed batch whose meta update waits for the student to go on: what the update looks back on.

    Attributes:
        step: the batch's global step.
        weighed: the batch.
        taken: the steps since, its own first.
    """

    step: int
    weighed: Weighed
    taken: tuple[TakenStep, ...] = ()


class MetaUpdates:
    """Looks back on a step, every so often, and lets the mentor learn from it.

    Args:
        student: bare.
        optimizer: the student's own.
        draw: of the samples whose influence is computed.

    Attributes:
        done: how many there were.

    Raises:
        UserError: an optimizer or student that the estimator cannot work with; in an update, a loss of which the
            expected error says nothing.
    """

    def __init__(
        self,
        student: nn.Module,
        optimizer: torch.optim.Optimizer,
        parts: Parts,
        exchange: AbstractExchange,
        settings: MentorConfig,
        draw: Draw,
    ) -> None:
        self.done = 0
        self._student = student
        self._optimizer = optimizer
        self._parts = parts
        self._exchange = exchange
        self._settings = settings
        self._draw = draw
        self._estimator: AbstractEstimator = make_estimator(settings.estimator, settings.unroll_steps)
        self._awaited: Awaited | None = None
        if parts.mentor is not None:
            self._estimator.check(student, optimizer, exchange.world_size)

    def is_due(self, step: int, *, may_begin: bool) -> bool:
        """Whether one looks back on this step; one that has begun goes on in any case."""
        begins = step % self._settings.update_interval == 0 and may_begin
        return self._parts.mentor is not None and (begins or self._goes_on(step) is not None)

    def before_forward(self) -> Before:
        """What will be needed of the student as it is, before the training forward of a step where one is due."""
        whole = self._estimator.remembers_optimizer(self._optimizer)
        heard = self._estimator.listen(self._student)
        return remember(self._student, self._optimizer, whole_optimizer=whole, heard=heard)

    @property
    def waits(self) -> bool:
        """Whether an update that has begun waits for the student to go on: no state holds what it has seen."""
        return self._awaited is not None

    def look_back(self, step: int, weighed: Weighed, before: Before) -> tuple[Float[Tensor, " batch"], float | None]:
        """Meta batch → meta gradient → influence of each sample → mentor step.

        With an estimator that looks k steps ahead, on the k-th step, of the first one's samples.

        Returns:
            Influences of the global batch, NaN where there are none, and the meta loss, None where there is none. What
            is not finite counts as none, and lets the mentor as it is.
        """
        before.stop_listening()
        awaited = self._goes_on(step) or Awaited(step, weighed)
        awaited = dataclasses.replace(awaited, taken=(*awaited.taken, self._taken(weighed, before)))
        missing = len(awaited.taken) < self._estimator.look_ahead
        self._awaited = awaited if missing else None
        unknown = torch.full_like(weighed.scored, torch.nan)
        if missing:
            return unknown, None
        influence, meta_loss = self._influences(awaited)
        assert self._parts.mentor is not None
        first = awaited.weighed
        self._parts.mentor.learn(MetaUpdate(awaited.step, first.seen.shown, influence, first.keep))
        self.done += 1
        shown = influence.where(influence.isfinite(), torch.nan) if first is weighed else unknown
        return shown, meta_loss if math.isfinite(meta_loss) else None

    def gradient_before(self, step: int) -> Gradient:
        """∇M(θ), before the step, for gradient rules: a meta batch of its own each step."""
        meta = self._parts.meta_batch(step)
        device = next(self._student.parameters()).device
        return self._meta_gradient(meta, Precision.now(device), None)[0]

    def _goes_on(self, step: int) -> Awaited | None:
        """What this step continues; a run that was set to another step continues nothing."""
        awaited = self._awaited
        return awaited if awaited and step == awaited.step + len(awaited.taken) else None

    def _taken(self, weighed: Weighed, before: Before) -> TakenStep:
        applied = dense_gradient_of(self._student)
        if self._estimator.look_ahead > 1:  # the next steps may write over them
            applied = {name: gradient.clone() for name, gradient in applied.items()}
        return TakenStep(
            self._student,
            self._optimizer,
            self._parts.loss,
            self._parts.meta_loss,
            weighed.seen.batch,
            weighed.normalised,
            before,
            applied,
        )

    def _influences(self, awaited: Awaited) -> tuple[Float[Tensor, " batch"], float]:
        """Of the global batch's samples, as far as they were chosen; and the meta loss.

        NaN says "not computed". So what was computed and is not finite is infinite here, and so are all influences
        on a meta loss that is not finite.
        """
        seen, last = awaited.weighed.seen, awaited.taken[-1]
        meta = self._parts.meta_batch(self.done)
        gradient, meta_loss = self._meta_gradient(meta, last.before.precision, self._estimator.names(self._student))
        if isinstance(self._parts.meta_loss, ExpectedError):
            self._parts.meta_loss.check(self._exchange, is_first=self.done == 0)
        chosen = self._chosen(len(seen.batch), len(awaited.weighed.keep)).to(seen.losses.device)
        found = self._estimator(awaited.taken, meta, step_direction(last, gradient), chosen)
        influence = torch.full((len(seen.batch), 1), torch.nan, dtype=torch.promote_types(found.dtype, torch.float32))
        sound = found.to("cpu", influence.dtype) if math.isfinite(meta_loss) else influence.new_tensor(torch.inf)
        influence[chosen.cpu(), 0] = sound.where(sound.isfinite(), torch.inf)
        return self._exchange.gather(influence, seen.rank_sizes)[:, 0], meta_loss

    def _meta_gradient(
        self, meta: MetaBatch, precision: Precision, names: Collection[str] | None
    ) -> tuple[Gradient, float]:
        gradient, share = meta_gradient(self._student, self._parts.meta_loss, meta, self._exchange, precision, names)
        return gradient, self._exchange.total(float(share))

    def _chosen(self, own: int, n: int) -> Int[Tensor, " chosen"]:
        """This rank's proportional part of the samples whose influence is computed."""
        wanted = self._settings.influence_samples
        if wanted == 0 or wanted >= n:
            return torch.arange(own)
        part = min(own, max(1, round(wanted * own / n)))
        picks = torch.randperm(own, generator=self._draw("influence", self._exchange.rank))[:part]
        return picks.sort().values
