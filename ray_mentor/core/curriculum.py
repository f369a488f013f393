"""One step of training under a curriculum: the picture of the design, line by line.

batch → student → per-sample losses → features → mentor → sample weights → weighted student step → ledger
                                          └ every k steps: meta batch → meta gradient → influences → mentor step
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Collection
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from ray_mentor.config import CurriculumConfig, MentorConfig, parse_schedule
from ray_mentor.core.batch import Batch
from ray_mentor.core.estimators import AbstractEstimator, make_estimator
from ray_mentor.core.exchange import AbstractExchange
from ray_mentor.core.gradient_rules import AbstractGradientRule
from ray_mentor.core.gradient_rules.base import Gradient
from ray_mentor.core.history import LossHistory
from ray_mentor.core.losses import PerSampleLoss, per_sample_losses
from ray_mentor.core.mentor_access import AbstractMentorAccess
from ray_mentor.core.mentor_learner import MetaUpdate
from ray_mentor.core.meta_step import MetaBatch, meta_gradient, step_direction, unwrapped
from ray_mentor.core.mixing import AbstractMixing
from ray_mentor.core.normalisation import normalise
from ray_mentor.core.observation import Observation, observe
from ray_mentor.core.percentile import RunningPercentile
from ray_mentor.core.precision import Precision
from ray_mentor.core.schedules import kept, rate_at, scheduled_weights
from ray_mentor.core.student_step import (
    Before,
    TakenStep,
    dense_gradient_of,
    remember,
    student_step,
    weighted_loss,
)
from ray_mentor.core.weightings import AbstractWeighting


@dataclass(frozen=True)
class StepRecord:
    """What one step did to this rank's samples: a block of ledger rows.

    Attributes:
        step: the global step, from 0.
        batch: the samples.
        losses: per-sample losses before the step.
        scored: what the weighting said, in [0, 1].
        sample_weights: what the student was trained with: scored, after burn-in and example dropout.
        influence: s_i = ∂M/∂ŵ_i; NaN where none was computed; below 0 where the sample helped. All NaN with an
            estimator that looks more than one step ahead: it looks when this record is already there.
        meta_loss: M(θ') over the global meta batch; None without a meta update.
    """

    step: int
    batch: Batch
    losses: Float[Tensor, " own"]
    scored: Float[Tensor, " own"]
    sample_weights: Float[Tensor, " own"]
    influence: Float[Tensor, " own"]
    meta_loss: float | None


@dataclass(frozen=True)
class Parts:
    """The exchangeable parts of a method, and how this run's steps reach mentor and meta set.

    Attributes:
        meta_loss: the per-sample loss whose mean over a meta batch is M.
        mentor: access to the learning mentor; None for weightings that do not learn.
        meta_batch: this rank's share of the n-th meta batch.
        burn_in: share of training, from its start, in which all sample weights are 1 and no mentor learns.
    """

    loss: PerSampleLoss
    meta_loss: PerSampleLoss
    weighting: AbstractWeighting
    mixing: AbstractMixing
    gradient_rule: AbstractGradientRule
    mentor: AbstractMentorAccess | None
    meta_batch: Callable[[int], MetaBatch]
    burn_in: float = 0.0


@dataclass(frozen=True)
class Weighed:
    """A batch with its sample weights.

    Attributes:
        seen: the batch as it was observed.
        scored: what the weighting said, of the global batch, in [0, 1].
        keep: False where example dropout set the sample weight to 0.
        sample_weights: scored, after burn-in and example dropout, of the global batch.
        normalised: ŵ of this rank's samples.
        loss: this rank's part of the weighted loss, with its graph; call ``backward`` on it.
    """

    seen: Observation
    scored: Float[Tensor, " batch"]
    keep: Bool[Tensor, " batch"]
    sample_weights: Float[Tensor, " batch"]
    normalised: Float[Tensor, " own"]
    loss: Float[Tensor, ""]


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


class Curriculum:
    """Trains one student, one step at a time.

    :meth:`step` is the whole of it. A training loop of one's own calls its parts: :meth:`before_forward`,
    :meth:`observe_losses`, :meth:`score`, :meth:`weigh` and :meth:`after_step`. Methods in which students pick
    samples for each other score one student's batch as the other sees it.

    Args:
        student: wrapped for data parallelism where there is more than one rank.
        optimizer: the student's own, with its real state.
        total_steps: planned steps, which progress is measured against.
        n_samples: size of the training split, for the loss history.
    """

    def __init__(
        self,
        student: nn.Module,
        optimizer: torch.optim.Optimizer,
        parts: Parts,
        exchange: AbstractExchange,
        curriculum: CurriculumConfig,
        mentor: MentorConfig,
        *,
        total_steps: int,
        n_samples: int,
        seed: int,
    ) -> None:
        self.student = student
        self.optimizer = optimizer
        self.parts = parts
        self.exchange = exchange
        self.step_number = 0
        self.meta_updates = 0
        self.percentile = RunningPercentile(mentor.loss_percentile, mentor.percentile_decay)
        self.history = LossHistory(n_samples, mentor.history_length)
        self.bare = unwrapped(student)
        self.estimator: AbstractEstimator = make_estimator(mentor.estimator, mentor.unroll_steps)
        if parts.mentor is not None:
            self.estimator.check(self.bare, optimizer, exchange.world_size)
        self._awaited: Awaited | None = None
        self._device = next(student.parameters()).device
        self._settings = mentor
        self._dropout = parse_schedule(curriculum.example_dropout)
        self._total_steps = total_steps
        self._seed = seed

    @property
    def progress(self) -> float:
        """Share of the planned steps that are done, in [0, 1)."""
        return min(self.step_number / self._total_steps, 1 - 2**-24)  # the last float32 below 1

    @property
    def meta_is_due(self) -> bool:
        """Whether a meta update looks back on the step that comes."""
        begins = self.step_number % self._settings.update_interval == 0 and not self._in_burn_in
        return self.parts.mentor is not None and (begins or self._goes_on is not None)

    @property
    def _in_burn_in(self) -> bool:
        return self.progress < self.parts.burn_in

    @property
    def _goes_on(self) -> Awaited | None:
        """What the step that comes continues; a run that was set to another step continues nothing."""
        awaited = self._awaited
        return awaited if awaited and self.step_number == awaited.step + len(awaited.taken) else None

    def step(self, batch: Batch) -> StepRecord:
        """One student step on this rank's share of a batch, and a meta update where one is due."""
        before = self.before_forward()
        seen = self.observe(batch)
        weighed = self.weigh(seen, self.score(seen))
        self._student_step(weighed, before)
        return self.after_step(weighed, before)

    def before_forward(self) -> Before | None:
        """What the meta step will need of the student as it is; None where none is due."""
        if not self.meta_is_due:
            return None
        whole = self.estimator.remembers_optimizer(self.optimizer)
        return remember(self.bare, self.optimizer, whole_optimizer=whole, heard=self.estimator.listen(self.bare))

    def observe(self, batch: Batch) -> Observation:
        """Batch → student → per-sample losses → features."""
        mixed = self.parts.mixing(batch.to(self._device), self.generator("mixing", self.exchange.rank))
        return self.observe_losses(mixed, per_sample_losses(self.student, self.parts.loss, mixed))

    def observe_losses(self, batch: Batch, losses: Float[Tensor, " own"]) -> Observation:
        """Per-sample losses → features, of a batch that the student has seen."""
        return observe(batch, losses, self.exchange, self.percentile, self.history, self.step_number, self.progress)

    def score(self, seen: Observation) -> Float[Tensor, " batch"]:
        """Features → mentor → what it says of each sample of the global batch."""
        return self.parts.weighting(seen)

    def weigh(self, seen: Observation, scored: Float[Tensor, " batch"]) -> Weighed:
        """What the mentor says → sample weights → weighted loss."""
        keep = kept(len(scored), rate_at(self._dropout, self.progress), self.generator("dropout"))
        weights = scheduled_weights(scored, keep, in_burn_in=self._in_burn_in)
        normalised = normalise(weights, self._settings.normalisation)[seen.own].to(seen.losses)
        loss = weighted_loss(seen.losses, normalised, self.exchange.world_size)
        return Weighed(seen, scored, keep, weights, normalised, loss)

    def after_step(self, weighed: Weighed, before: Before | None) -> StepRecord:
        """(Meta update) → record; call it when the optimizer has stepped, with the gradients still there."""
        seen = weighed.seen
        influence, meta_loss = (
            self._meta_update(weighed, before) if before else (torch.full_like(weighed.scored, torch.nan), None)
        )
        record = StepRecord(
            step=self.step_number,
            batch=seen.batch,
            losses=seen.losses.detach(),
            scored=weighed.scored[seen.own],
            sample_weights=weighed.sample_weights[seen.own],
            influence=influence[seen.own],
            meta_loss=meta_loss,
        )
        self.step_number += 1
        return record

    def _student_step(self, weighed: Weighed, before: Before | None) -> None:
        if before:
            before.stop_listening()
        rule = self.parts.gradient_rule
        wanted = self._gradient_before if rule.needs_meta_gradient else None
        student_step(self.bare, self.optimizer, weighed.loss, rule, wanted)

    def _meta_update(self, weighed: Weighed, before: Before) -> tuple[Float[Tensor, " batch"], float | None]:
        """Meta batch → meta gradient → influence of each sample → mentor step; (influences, meta loss).

        With an estimator that looks k steps ahead, on the k-th step, of the first one's samples.
        """
        before.stop_listening()
        awaited = self._goes_on or Awaited(self.step_number, weighed)
        awaited = dataclasses.replace(awaited, taken=(*awaited.taken, self._taken(weighed, before)))
        missing = len(awaited.taken) < self.estimator.look_ahead
        self._awaited = awaited if missing else None
        unknown = torch.full_like(weighed.scored, torch.nan)
        if missing:
            return unknown, None
        influence, meta_loss = self._influences(awaited)
        assert self.parts.mentor is not None
        first = awaited.weighed
        self.parts.mentor.learn(MetaUpdate(awaited.step, first.seen.features, influence, first.keep))
        self.meta_updates += 1
        return influence if first is weighed else unknown, meta_loss

    def _taken(self, weighed: Weighed, before: Before) -> TakenStep:
        applied = dense_gradient_of(self.bare)
        if self.estimator.look_ahead > 1:  # the next steps may write over them
            applied = {name: gradient.clone() for name, gradient in applied.items()}
        batch = weighed.seen.batch
        loss, meta_loss = self.parts.loss, self.parts.meta_loss
        return TakenStep(self.bare, self.optimizer, loss, meta_loss, batch, weighed.normalised, before, applied)

    def _influences(self, awaited: Awaited) -> tuple[Float[Tensor, " batch"], float]:
        """Of the global batch's samples, as far as they were chosen; and the meta loss."""
        seen, last = awaited.weighed.seen, awaited.taken[-1]
        meta = self.parts.meta_batch(self.meta_updates)
        gradient, meta_loss = self._meta_gradient(meta, last.before.precision, self.estimator.names(self.bare))
        chosen = self._chosen(len(seen.batch), len(awaited.weighed.keep)).to(self._device)
        found = self.estimator(awaited.taken, meta, step_direction(last, gradient), chosen)
        influence = torch.full((len(seen.batch), 1), torch.nan, dtype=torch.promote_types(found.dtype, torch.float32))
        influence[chosen.cpu(), 0] = found.to("cpu", influence.dtype)
        return self.exchange.gather(influence, seen.rank_sizes)[:, 0], meta_loss

    def _gradient_before(self) -> Gradient:
        """∇M(θ), before the step, for gradient rules: a meta batch of its own each step."""
        meta = self.parts.meta_batch(self.step_number)
        return self._meta_gradient(meta, Precision.now(self._device), None)[0]

    def _meta_gradient(
        self, meta: MetaBatch, precision: Precision, names: Collection[str] | None
    ) -> tuple[Gradient, float]:
        gradient, share = meta_gradient(self.bare, self.parts.meta_loss, meta, self.exchange, precision, names)
        return gradient, self.exchange.total(float(share))

    def _chosen(self, own: int, n: int) -> Int[Tensor, " chosen"]:
        """This rank's proportional part of the samples whose influence is computed."""
        wanted = self._settings.influence_samples
        if wanted == 0 or wanted >= n:
            return torch.arange(own)
        part = min(own, max(1, round(wanted * own / n)))
        picks = torch.randperm(own, generator=self.generator("influence", self.exchange.rank))[:part]
        return picks.sort().values

    def generator(self, purpose: str, rank: int = 0) -> torch.Generator:
        """Randomness that depends on seed, step, purpose and rank alone, so that a resumed run draws the same."""
        words = [self._seed, self.step_number, rank, *purpose.encode()]
        return torch.Generator().manual_seed(int(np.random.SeedSequence(words).generate_state(1, np.uint64)[0] >> 1))
