"""One step of training under a curriculum: the picture of the design, line by line.

batch → student → per-sample losses → features → mentor → sample weights → weighted student step → ledger
                                          └ every k steps: meta batch → meta gradient → influences → mentor step
"""

from __future__ import annotations

from collections.abc import Callable
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
from ray_mentor.core.history import LossHistory
from ray_mentor.core.losses import PerSampleLoss, per_sample_losses
from ray_mentor.core.mentor_access import AbstractMentorAccess
from ray_mentor.core.mentor_learner import MetaUpdate
from ray_mentor.core.meta_step import MetaBatch, meta_gradient, unwrapped
from ray_mentor.core.mixing import AbstractMixing
from ray_mentor.core.normalisation import normalise
from ray_mentor.core.observation import Observation, observe
from ray_mentor.core.percentile import RunningPercentile
from ray_mentor.core.schedules import kept, rate_at, scheduled_weights
from ray_mentor.core.step_jacobian import jacobian_of
from ray_mentor.core.student_step import Before, gradient_of, remember, step_direction, student_step
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
        influence: s_i = ∂M/∂ŵ_i; NaN where none was computed; below 0 where the sample helped.
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
        mentor: access to the learning mentor; None for weightings that do not learn.
        meta_batch: this rank's share of the n-th meta batch.
    """

    loss: PerSampleLoss
    weighting: AbstractWeighting
    mixing: AbstractMixing
    gradient_rule: AbstractGradientRule
    mentor: AbstractMentorAccess | None
    meta_batch: Callable[[int], MetaBatch]


class Curriculum:
    """Trains one student, one step at a time.

    :meth:`step` is ``learn_from(seen, weigh(seen), before)`` of ``seen = observe(batch)``, in public parts:
    methods in which students pick samples for each other weigh one student's batch as the other sees it.

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
        if parts.mentor is not None:
            jacobian_of(optimizer)  # an optimizer that no mentor can learn through is refused before the first step
        self._device = next(student.parameters()).device
        self._settings = mentor
        self._burn_in = curriculum.burn_in
        self._dropout = parse_schedule(curriculum.example_dropout)
        self._estimator: AbstractEstimator = make_estimator(mentor.estimator)
        self._total_steps = total_steps
        self._seed = seed

    @property
    def progress(self) -> float:
        """Share of the planned steps that are done, in [0, 1)."""
        return min(self.step_number / self._total_steps, 1 - 2**-24)  # the last float32 below 1

    def step(self, batch: Batch) -> StepRecord:
        """One student step on this rank's share of a batch, and a meta update where one is due."""
        before = remember(self.bare, self.optimizer) if self._meta_is_due() else None
        seen = self.observe(batch)
        return self.learn_from(seen, self.weigh(seen), before)

    def observe(self, batch: Batch) -> Observation:
        """Batch → student → per-sample losses → features."""
        mixed = self.parts.mixing(batch.to(self._device), self.generator("mixing", self.exchange.rank))
        losses = per_sample_losses(self.student, self.parts.loss, mixed)
        return observe(mixed, losses, self.exchange, self.percentile, self.history, self.step_number, self.progress)

    def weigh(self, seen: Observation) -> Float[Tensor, " batch"]:
        """Features → mentor → sample weights of the global batch."""
        return self.parts.weighting(seen)

    def learn_from(self, seen: Observation, scored: Float[Tensor, " batch"], before: Before | None) -> StepRecord:
        """Sample weights → weighted student step → (meta update) → record."""
        keep = kept(len(scored), rate_at(self._dropout, self.progress), self.generator("dropout"))
        weights = scheduled_weights(scored, keep, in_burn_in=self.progress < self._burn_in)
        student_step(
            self.bare,
            self.optimizer,
            seen.losses,
            normalise(weights, self._settings.normalisation)[seen.own].to(seen.losses),
            self.exchange.world_size,
            self.parts.gradient_rule,
            self._gradient_before if self.parts.gradient_rule.needs_meta_gradient else None,
        )
        influence, meta_loss = (
            self._meta_update(seen, keep, before) if before else (torch.full_like(scored, torch.nan), None)
        )
        record = StepRecord(
            step=self.step_number,
            batch=seen.batch,
            losses=seen.losses.detach(),
            scored=scored[seen.own],
            sample_weights=weights[seen.own],
            influence=influence[seen.own],
            meta_loss=meta_loss,
        )
        self.step_number += 1
        return record

    def _meta_is_due(self) -> bool:
        return self.parts.mentor is not None and self.step_number % self._settings.update_interval == 0

    def _meta_update(
        self, seen: Observation, keep: Bool[Tensor, " batch"], before: Before
    ) -> tuple[Float[Tensor, " batch"], float]:
        """Meta batch → meta gradient → influence of each sample → mentor step; (influences, meta loss)."""
        applied = gradient_of(self.bare)
        meta, meta_loss = self._meta_gradient(self.meta_updates)
        direction = step_direction(self.bare, self.optimizer, before, applied, meta)
        chosen = self._chosen(len(seen.batch), len(keep)).to(self._device)
        found = self._estimator(self.bare, self.parts.loss, seen.batch[chosen], before, direction)
        influence = torch.full((len(seen.batch), 1), torch.nan, dtype=torch.promote_types(found.dtype, torch.float32))
        influence[chosen.cpu(), 0] = found.to("cpu", influence.dtype)
        table = self.exchange.gather(influence, seen.rank_sizes)
        assert self.parts.mentor is not None
        self.parts.mentor.learn(MetaUpdate(self.step_number, seen.features, table[:, 0], keep))
        self.meta_updates += 1
        return table[:, 0], meta_loss

    def _gradient_before(self) -> dict[str, Tensor]:
        """∇M(θ), before the step, for gradient rules: a meta batch of its own each step."""
        return self._meta_gradient(self.step_number)[0]

    def _meta_gradient(self, number: int) -> tuple[dict[str, Tensor], float]:
        batch = self.parts.meta_batch(number)
        gradient, share = meta_gradient(self.student, self.parts.loss, batch, self.exchange.world_size)
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
