"""The lower half of the picture: meta batch → meta gradient → influences → mentor step, every k steps."""

from __future__ import annotations

import copy
import dataclasses
import functools
import math
from collections.abc import Callable, Collection
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from ray_mentor.config import MentorConfig
from ray_mentor.core.batch import Batch, MetaBatch
from ray_mentor.core.epoch import AtEpoch
from ray_mentor.core.exchange import AbstractExchange
from ray_mentor.core.influence.checked_estimator import CheckedEstimator
from ray_mentor.core.influence.estimators import AbstractEstimator, make_estimator
from ray_mentor.core.influence.estimators.jvp import ForwardMode
from ray_mentor.core.influence.heard_gradient import HeardGradient
from ray_mentor.core.influence.hypergradients.of_loss import loss_hypergradients
from ray_mentor.core.influence.hypergradients.of_optimizer import Slopes, optimizer_hypergradients
from ray_mentor.core.influence.meta_gradient import meta_gradient, step_direction, types_explained
from ray_mentor.core.influence.owners import check_all_owned, check_owners
from ray_mentor.core.influence.taken_step import Before, TakenStep, dense_gradient_of, remember
from ray_mentor.core.losses import ExpectedError, PerSampleLoss, cross_entropy
from ray_mentor.core.mentor.guards import Guards
from ray_mentor.core.mentor.learner import MetaUpdate
from ray_mentor.core.mentor.pace import interval_of
from ray_mentor.core.methods.parts import Parts
from ray_mentor.core.step.gradient_rules.base import Gradient
from ray_mentor.core.step.record import Weighed
from ray_mentor.core.student.copies import named_copies
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


@dataclass(frozen=True)
class LookedBack:
    """What came of looking back on a step.

    Attributes:
        influence: of the global batch's samples, NaN where there is none.
        meta_loss: M(θ'); None where there is none.
        hypergradients: ∂M(θ')/∂h of settings; those of the loss where the estimator has the logits' tangent.
    """

    influence: Float[Tensor, " batch"]
    meta_loss: float | None
    hypergradients: Slopes = dataclasses.field(default_factory=dict)


class MetaUpdates:
    """Looks back on a step, every so often, and lets the mentor learn from it.

    Args:
        student: bare.
        optimizers: the student's own, each of which moves params of its own.
        guards: are told of influences that are all 0, or don't add up.
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
        optimizers: tuple[torch.optim.Optimizer, ...],
        parts: Parts,
        exchange: AbstractExchange,
        settings: MentorConfig,
        guards: Guards,
        draw: Draw,
    ) -> None:
        self.done = 0
        self._student = student
        self._optimizers = optimizers
        self._parts = parts
        self._exchange = exchange
        self._settings = settings
        self._guards = guards
        self._draw = draw
        self._estimator: AbstractEstimator = make_estimator(settings.estimator, settings.unroll_steps)
        self._checked = CheckedEstimator(self._estimator, settings, exchange, guards)
        self._awaited: Awaited | None = None
        self._tried = False
        self._room: Gradient = {}  # for gradients that are heard
        if parts.mentor is not None:
            check_owners(student, optimizers)
            self._estimator.check(student, optimizers, exchange.world_size)

    def is_due(self, step: int, may_begin: Callable[[], bool]) -> bool:
        """Whether one looks back on this step; one that has begun goes on in any case."""
        if self._parts.mentor is None:
            return False
        return self._goes_on(step) is not None or (step % interval_of(self._settings) == 0 and may_begin())

    @property
    def is_untried(self) -> bool:
        """Whether this step must be looked back on, without a trace, because none of the run has been."""
        return self._parts.mentor is not None and not self._tried and self._guards.rounding is None

    def before_forward(self) -> Before:
        """What will be needed of the student as it is, before the training forward of a step that is looked back on."""
        whole = self._estimator.remembers_optimizer(self._optimizers)
        heard, gradient = self._estimator.listen(self._student), HeardGradient(self._student, self._room)
        return remember(self._student, self._optimizers, whole_optimizer=whole, heard=heard, gradient=gradient)

    @property
    def waits(self) -> bool:
        """Whether an update that has begun waits for the student to go on: no state holds what it has seen."""
        return self._awaited is not None

    def look_back(self, step: int, weighed: Weighed, before: Before, *, is_due: bool) -> LookedBack:
        """Meta batch → meta gradient → influence of each sample → mentor step.

        With an estimator that looks k steps ahead, on the k-th step, of the first one's samples.

        Args:
            is_due: whether it is an update's turn. If not, nothing but the first look of a run comes of it.

        Returns:
            What is not finite, or does not add up, counts as none, and lets the mentor as it is.

        Raises:
            UserError: before the first sound look of a run, influences that don't add up; and whatever the estimator
                cannot work with.
        """
        before.stop_listening()
        try:
            taken = self._taken(weighed, before)
            if self.is_untried:
                self._try(taken, weighed)
            if is_due:
                return self._updated(step, weighed, taken)
            return LookedBack(torch.full_like(weighed.scored, torch.nan), None)
        finally:
            before.forget()

    def drop(self, before: Before) -> None:
        """Forgets a step that is taken back, and an update that has begun with it or before."""
        before.stop_listening()
        before.forget()
        self._awaited = None

    def _updated(self, step: int, weighed: Weighed, taken: TakenStep) -> LookedBack:
        unknown = torch.full_like(weighed.scored, torch.nan)
        awaited = self._goes_on(step) or Awaited(step, weighed)
        awaited = dataclasses.replace(awaited, taken=(*awaited.taken, taken))
        missing = len(awaited.taken) < self._estimator.look_ahead
        self._awaited = awaited if missing else None
        if missing:
            return LookedBack(unknown, None)
        influence, meta_loss, hypergradients = self._influences(awaited)
        assert self._parts.mentor is not None
        first = awaited.weighed
        keep = torch.ones_like(first.seen.features.trusted) if first.keep is None else first.keep
        update = MetaUpdate(awaited.step, first.seen.shown, influence, keep).on_host()
        self._parts.mentor.learn(update)
        self.done += 1
        influence = update.influence
        shown = influence.where(influence.isfinite(), torch.nan) if first is weighed else unknown
        return LookedBack(shown, meta_loss if math.isfinite(meta_loss) else None, hypergradients)

    def gradient_before(self, step: int) -> Gradient:
        """∇M(θ), before the step, for gradient rules: a meta batch of its own each step."""
        return self._gradient_on(self._parts.meta_batch(step))

    def _gradient_on(self, meta: MetaBatch) -> Gradient:
        device = next(self._student.parameters()).device
        return self._meta_gradient(meta, Precision.now(device), None)[0]

    @functools.cached_property
    def _forward_mode(self) -> ForwardMode:
        return ForwardMode()

    def slopes(self, step: int, batch: Batch) -> Float[Tensor, " batch"]:
        """⟨∇M(θ), ∇ℓ_i⟩ of the global batch, θ the student as it stands: one forward-mode pass. A collective call.

        Args:
            batch: this rank's samples, before the student's training forward, whose dropout masks are used.
        """
        before = remember(self._student, self._optimizers, whole_optimizer=False)
        meta = self._parts.meta_batch(step)
        direction = self._gradient_on(meta)
        weights = torch.zeros(len(batch), device=batch.labels.device)
        at_hand = TakenStep(
            self._student, self._optimizers, self._parts.loss, self._parts.meta_loss, batch, weights, before, {}
        )
        found = self._forward_mode((at_hand,), meta, direction, torch.arange(len(batch), device=weights.device))
        sizes = batch.rank_sizes or self._exchange.sizes(len(batch))
        return self._exchange.gather(found.detach().double()[:, None], sizes)[:, 0]

    def _goes_on(self, step: int) -> Awaited | None:
        """What this step continues; a run that was set to another step continues nothing."""
        awaited = self._awaited
        return awaited if awaited and step == awaited.step + len(awaited.taken) else None

    @property
    def _loss(self) -> PerSampleLoss:
        """As it is now: an update that looks several steps ahead may see an epoch end, and the loss change."""
        loss = self._parts.loss
        return copy.copy(loss) if isinstance(loss, AtEpoch) else loss

    def _taken(self, weighed: Weighed, before: Before) -> TakenStep:
        applied = dense_gradient_of(self._student)
        check_all_owned(self._student, applied, before.owned)
        if self._estimator.look_ahead > 1:  # the next steps may write over them
            applied = named_copies(applied)
        elif before.gradient is not None:
            withheld = before.gradient.withheld(applied)
            applied = {name: gradient for name, gradient in applied.items() if name not in withheld}
        return TakenStep(
            self._student,
            self._optimizers,
            self._loss,
            self._parts.meta_loss,
            weighed.seen.batch,
            weighed.normalised,
            before,
            applied,
        )

    def _try(self, taken: TakenStep, weighed: Weighed) -> None:
        """Does all that an update does, but for the mentor's step: what can't work is refused before training.

        The influences are those of one step of all samples, along the gradient itself where the estimator takes any
        direction: an optimizer's first steps, or a rate of 0, leave hardly one.
        """
        self._tried = True
        meta = self._parts.meta_batch(self.done)  # the one that the first update will get
        asked = self._estimator.names(self._student) if self._estimator.needs_direction else None
        with types_explained(meta, taken.batch):
            gradient, _ = self._meta_gradient(meta, taken.before.precision, asked)
        self._check_meta_loss(is_first_update=False)
        direction = step_direction(taken, gradient)
        along = {name: taken.applied[name] for name in direction} if self._estimator.needs_direction else direction
        everyone = torch.arange(len(taken.batch), device=weighed.seen.losses.device)
        self._checked((taken,), meta, along, everyone, weighed.seen.losses, add_up=True, watched=True)

    def _influences(self, awaited: Awaited) -> tuple[Float[Tensor, " batch"], float, Slopes]:
        """Of the global batch's samples, as far as they were chosen; the meta loss; and settings' hypergradients.

        NaN says "not computed". So what was computed and is not finite is infinite here, and so are all influences
        on a meta loss that is not finite, and those that don't add up.
        """
        seen, last = awaited.weighed.seen, awaited.taken[-1]
        meta = self._parts.meta_batch(self.done)
        asked = self._estimator.names(self._student)
        if len(awaited.taken) == 1 and not self._estimator.needs_direction:
            asked = None  # what it finds is compared along the direction all the same
        gradient, meta_loss = self._meta_gradient(meta, last.before.precision, asked)
        self._check_meta_loss(is_first_update=self.done == 0)
        chosen, are_all = self._chosen(len(seen.batch), len(awaited.weighed.scored))
        direction, rows = step_direction(last, gradient), chosen.to(seen.losses.device, non_blocking=True)
        add_up = are_all and len(awaited.taken) == 1
        found, is_sound = self._checked(awaited.taken, meta, direction, rows, seen.losses, add_up=add_up)
        dtype = torch.promote_types(found.dtype, torch.float32)
        influence = torch.full((len(seen.batch), 1), torch.nan, dtype=dtype, device=seen.losses.device)
        is_sound = is_sound and math.isfinite(meta_loss)
        sound = found.detach().to(dtype) if is_sound else torch.full_like(rows, torch.inf, dtype=dtype)
        influence[rows, 0] = sound.where(sound.isfinite(), torch.inf)
        whole = self._exchange.gather(influence, seen.rank_sizes)[:, 0]
        self._guards.note_influences(whole)
        return whole, meta_loss, self._hypergradients(last, gradient, whole=add_up and asked is None)

    def _hypergradients(self, taken: TakenStep, gradient: Gradient, *, whole: bool) -> Slopes:
        """Of the step's settings; of the loss's where it is cross-entropy. A collective call.

        Args:
            whole: whether all of ∇M is there, and all samples were looked at.
        """
        if not whole:
            return {}
        found = optimizer_hypergradients(taken, gradient)
        said = self._checked.said
        if taken.loss is cross_entropy and said is not None:
            own = loss_hypergradients(*said, taken.batch, taken.normalised)
            (sums,) = self._exchange.sum_of([torch.stack(list(own.values()))])
            found |= zip(own, sums.unbind(), strict=True)
        return found

    def _check_meta_loss(self, *, is_first_update: bool) -> None:
        if isinstance(self._parts.meta_loss, ExpectedError):
            self._parts.meta_loss.check(self._exchange, is_first_update=is_first_update)

    def _meta_gradient(
        self, meta: MetaBatch, precision: Precision, names: Collection[str] | None
    ) -> tuple[Gradient, float]:
        gradient, share = meta_gradient(self._student, self._parts.meta_loss, meta, self._exchange, precision, names)
        return gradient, self._exchange.total(float(share))

    def _chosen(self, own: int, n: int) -> tuple[Int[Tensor, " chosen"], bool]:
        """This rank's proportional part of the samples whose influence is computed, and whether all ranks' are."""
        wanted = self._settings.influence_samples
        if wanted == 0 or wanted >= n:
            return torch.arange(own), True
        part = min(own, max(1, round(wanted * own / n)))
        picks = torch.randperm(own, generator=self._draw("influence", self._exchange.rank))[:part]
        return picks.sort().values, False
