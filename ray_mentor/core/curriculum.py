"""One step of training under a curriculum: the picture of the design, line by line.

batch → student → per-sample losses → features → mentor → sample weights → weighted student step → ledger
                                          └ every k steps: meta batch → meta gradient → influences → mentor step
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from ray_mentor.config import CurriculumConfig, MentorConfig, parse_schedule
from ray_mentor.core.batch import Batch
from ray_mentor.core.epoch import EpochEnd
from ray_mentor.core.exchange import AbstractExchange
from ray_mentor.core.history.table import LossHistory
from ray_mentor.core.influence.meta_gradient import unwrapped
from ray_mentor.core.influence.taken_step import Before
from ray_mentor.core.influence.updates import MetaUpdates
from ray_mentor.core.learned_rate.learner import LearnedRate
from ray_mentor.core.losses import TargetLoss, losses_of, passed_through, values_of
from ray_mentor.core.mentor.guards import Guards
from ray_mentor.core.methods.parts import Parts
from ray_mentor.core.methods.remembering import remember
from ray_mentor.core.step.evaluation import Batches, losses_by_label, predicted_by_class
from ray_mentor.core.step.memorising import Memorising
from ray_mentor.core.step.normalisation import normalise
from ray_mentor.core.step.observation import Observation, again_observed, observe
from ray_mentor.core.step.percentile import RunningPercentile
from ray_mentor.core.step.record import StepRecord, Weighed, record_of
from ray_mentor.core.step.said import said_of
from ray_mentor.core.step.schedules import kept, rate_at, scheduled_weights
from ray_mentor.core.step.student_step import Clipped, student_step, weighted_loss
from ray_mentor.core.step.students import across
from ray_mentor.core.step.targets import with_targets
from ray_mentor.core.step.units import RunningUnits
from ray_mentor.core.stopwatch import Stopwatch
from ray_mentor.core.student.kept_buffers import kept_buffers
from ray_mentor.core.student.random_state import untouched
from ray_mentor.core.student.shared_buffers import share_buffers
from ray_mentor.errors import NonFiniteLossError


class Curriculum:
    """Trains one student, one step at a time.

    :meth:`step` is the whole of it. A training loop of one's own calls its parts: :meth:`before_forward`,
    :meth:`observe_losses`, :meth:`score`, :meth:`weigh` (whose loss what came before it must follow) and
    :meth:`after_step`. A pair of students is one module (:class:`~ray_mentor.core.student.pair.Pair`), and each of the
    two has a column of losses and of sample weights.

    Args:
        student: wrapped for data parallelism where there is more than one rank.
        optimizer: the student's own, with its real state.
        more_optimizers: those that move the student beside it, each other params.
        rate: a factor on the optimizers' learning rates, which it learns from the steps; None: there is none.
        total_steps: planned steps, which progress is measured against.
        epochs: how many passes over the samples these steps are.
        n_samples: samples that the student is trained on, for the loss history.
        n_classes: C; needed where the loss remembers a target of each sample, or a part of the method finds something
            out at the end of an epoch.
        clip: largest norm of the gradient that the student steps along; 0: any.
        split_history: whether each rank holds only its part of the loss history; then no rank alone has the whole.

    Attributes:
        clipped: how the last step's gradient was; None where it was not.
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
        split_history: bool = False,
        n_classes: int = 0,
        epochs: int = 1,
        clip: float = 0.0,
        more_optimizers: Sequence[torch.optim.Optimizer] = (),
        rate: LearnedRate | None = None,
    ) -> None:
        self.student = student
        self.optimizer = optimizer
        self.parts = parts
        self.exchange = exchange
        self.rate = rate
        self.step_number = 0
        self.percentile = RunningPercentile(mentor.loss_percentile, mentor.percentile_decay)
        self.units = None if parts.in_nats else RunningUnits(mentor.percentile_decay)
        share = (exchange.rank, exchange.world_size) if split_history else (0, 1)
        targets = n_classes if isinstance(parts.loss, TargetLoss) else 0
        self._kept = slice(targets, targets + (parts.remembering.keeps if parts.remembering else 0))
        self._device = next(student.parameters()).device
        self.history = LossHistory(
            n_samples, mentor.history_length, *share, beside=self._kept.stop, device=self._device
        )
        self.clock = Stopwatch()
        self.guards = Guards(mentor, parts.mentor, n_classes, keeps_shares=parts.counts_trust)
        self.memorising = Memorising(values_of(parts.meta_loss))
        self.bare = unwrapped(student)
        self.optimizers = (optimizer, *more_optimizers)
        self.meta = MetaUpdates(self.bare, self.optimizers, parts, exchange, mentor, self.guards, self.generator)
        self._normalisation = mentor.normalisation
        self._clip = clip
        self._dropout = parse_schedule(curriculum.example_dropout)
        self._total_steps = total_steps
        self._epochs = epochs
        self._seed = seed
        self.n_classes = n_classes
        self.clipped: Clipped | None = None

    @property
    def progress(self) -> float:
        """Share of the planned steps that are done, in [0, 1)."""
        return min(self.step_number / self._total_steps, 1 - 2**-24)  # the last float32 below 1

    @property
    def meta_is_due(self) -> bool:
        """Whether a meta update looks back on the step that comes."""
        return self.meta.is_due(self.step_number, self._may_learn)

    @property
    def is_looked_back_on(self) -> bool:
        """Whether the meta step looks at the step that comes: for an update, or as the first of a run, to try it."""
        return self.meta_is_due or self.meta.is_untried

    def _may_learn(self) -> bool:
        return not self._in_burn_in and self.guards.stopped_at is None

    @property
    def _in_burn_in(self) -> bool:
        return self.progress < self.parts.burn_in

    def step(self, batch: Batch) -> StepRecord:
        """One student step on this rank's share of a batch, and a meta update where one is due."""
        batch = batch.to(self._device)
        looked = self._looked(batch) if self._is_relabelled or self._is_mixed_by_weight else None
        before = self.before_forward()
        weighed = self._learnt_from(looked) if looked else self._weighed(self.observe(batch))
        return self.after_step(weighed, self._student_step(weighed, before))

    def before_forward(self) -> Before | None:
        """What the meta step will need of the student as it is; None where none looks back on the step."""
        if not self.is_looked_back_on:
            return None
        with self.clock("meta step"), self.rates_in_force():
            share_buffers(self.student)
            return self.meta.before_forward()

    def rates_in_force(self) -> AbstractContextManager[None]:
        """Inside, the optimizers' learning rates are those that the student steps with."""
        return nullcontext() if self.rate is None else self.rate.in_force()

    def observe(self, batch: Batch) -> Observation:
        """Batch → student → per-sample losses → features, of a batch that is on the student's device."""
        shown = batch if self.parts.mixing.by_weight else self.parts.mixing(batch, self._mixing_draw)
        slopes = self._slopes(shown)
        outputs, loss = passed_through(self.student, shown), self.parts.loss
        if isinstance(loss, TargetLoss):
            shown = with_targets(shown, loss, outputs, self.history, self.exchange)
        losses = losses_of(outputs, loss, shown)
        with torch.no_grad():
            beside = None if self.parts.shown_loss is loss else losses_of(outputs, self.parts.shown_loss, shown)
        said = said_of(outputs, shown.labels, self.n_classes, is_pair=losses.ndim > 1)
        return dataclasses.replace(self.observe_losses(shown, losses, beside, said), slopes=slopes)

    def observe_losses(
        self,
        batch: Batch,
        losses: Float[Tensor, "own ..."],
        shown: Float[Tensor, " own"] | None = None,
        said: Float[Tensor, "own 2"] | None = None,
    ) -> Observation:
        """Per-sample losses → features, of a batch that the student has seen.

        Args:
            shown: of the loss that the features are made of, where it is another one.
            said: what the ledger shall say of the outputs, where they are known.
        """
        self._mark()
        if self.rate is not None:
            self.rate.begins()
        seen = observe(
            batch,
            losses,
            self.exchange,
            self.percentile,
            self.history,
            self.progress,
            self.units,
            shown,
            said,
            self.progress * self._epochs,
        )
        if self.parts.by_given:
            self.memorising.note_trained(seen.features.loss, None if seen.trusted is None else ~seen.trusted)
        elif seen.trusted is not None:
            self.memorising.note_trained(seen.features.loss, seen.trusted)
        part = self.parts.remembering
        return seen if part is None else remember(part, seen, self.history, self.exchange, self._kept)

    def score(self, seen: Observation) -> Float[Tensor, "batch ..."]:
        """Features → mentor → what it says of each sample of the global batch; of a trusted one 1, whoever weighs, but
        for weightings that don't go by whether labels are right.
        """
        with self.clock("scoring"):
            scored = self.parts.weighting(seen)
        scored = scored.to(seen.features.loss.device, non_blocking=True)
        if seen.trusted is None or self.parts.weighting.weighs_trusted:
            return scored
        return scored.masked_fill(across(seen.trusted, scored), 1.0)

    def weigh(self, seen: Observation, scored: Float[Tensor, "batch ..."]) -> Weighed:
        """What the mentor says → sample weights → weighted loss."""
        overruled = not self._in_burn_in and self.guards.collapsed(seen, scored)
        return self._scheduled(seen, scored, overruled=overruled)

    def _scheduled(
        self, seen: Observation, scored: Float[Tensor, " batch"], *, overruled: bool | Bool[Tensor, ""]
    ) -> Weighed:
        rate = rate_at(self._dropout, self.progress)
        keep = kept(len(scored), rate, self.generator("dropout")) if rate else None
        keep = None if keep is None else keep.to(scored.device, non_blocking=True)
        weights = scheduled_weights(scored, keep, equal=self._in_burn_in or overruled)
        normalised = seen.mine(normalise(weights, self._normalisation)).to(seen.losses)
        loss = weighted_loss(seen.losses, normalised, self.exchange.world_size)
        return self._sent(Weighed(seen, scored, keep, overruled, weights, normalised, loss))

    def _sent(self, weighed: Weighed) -> Weighed:
        """What was noted of it is on its way to the host; where it is there at once, it is looked at at once."""
        if weighed.noted.are_here:
            self.check(weighed)
        return weighed

    def check(self, weighed: Weighed) -> None:
        """Whether the student may step, once the device has its backward pass to do; waits for what came before it.

        Raises:
            NonFiniteLossError: on every rank, if a loss on any rank is NaN or infinite. Neither student nor curriculum
                knows of the batch then. Not where a learnt rate takes the step back, and goes on with a smaller one.
        """
        if self.rate is not None and not self.rate.sees(*weighed.mean_and_error):
            return
        try:
            weighed.check_finite(self.step_number)
        except NonFiniteLossError:
            self._take_back()
            raise

    def _mark(self) -> None:
        """Nothing of these is written over, but for the history, which can take back."""
        self.history.mark()
        units = None if self.units is None else self.units.running
        running = self.percentile.running, units, self.memorising.sums, self.guards.shares.running
        self._marked = *running, self.parts.gradient_rule.state

    def _take_back(self) -> None:
        """As if the losses that were observed last never had been."""
        self.history.take_back()
        self.percentile.running, units, self.memorising.sums, self.guards.shares.running, rule = self._marked
        self.parts.gradient_rule.state = rule
        if self.units is not None:
            self.units.running = units

    def after_step(self, weighed: Weighed, before: Before | None) -> StepRecord:
        """(Meta update) → record; call it when the optimizer has stepped, with the gradients still there."""
        self.check(weighed)
        if self.rate is not None and self.rate.is_bad:
            return self._taken_back(weighed, before)
        influence, meta_loss, hypergradients = None, None, None
        if before:
            is_due = self.meta_is_due
            with self.clock("meta step"):
                looked = self.meta.look_back(self.step_number, weighed, before, is_due=is_due)
            influence, meta_loss, hypergradients = looked.influence, looked.meta_loss, looked.hypergradients
        record = record_of(self.step_number, weighed, influence, meta_loss, self.parts.class_factors, hypergradients)
        self.guards.count_fallback(weighed.overruled)
        self.parts.weighting.stepped()
        if self.rate is not None:
            with self.clock("learning rate"):
                self.rate.after_step()
        self.step_number += 1
        return record

    def _taken_back(self, weighed: Weighed, before: Before | None) -> StepRecord:
        """Of a step that did not happen nothing is taken down, and nobody learns."""
        assert self.rate is not None
        if before:
            self.meta.drop(before)
        self._take_back()
        self.rate.after_step()
        record = record_of(self.step_number, weighed, None, None)
        self.step_number += 1
        return record.without_samples()

    def note_holdout(self, loss: float) -> None:
        """Takes in the meta loss on held-out samples at the end of an epoch; the mentor may learn no more after it."""
        self.memorising.note_unseen(loss)
        if self.meta.done:  # before its first update nothing is the mentor's doing
            self.guards.note_holdout(loss, self.step_number)

    def end_epoch(
        self,
        done: int,
        trusted: Callable[[], Batches],
        errors: Float[Tensor, " validation"] | None = None,
        tell: Callable[[str], None] = lambda text: None,
    ) -> None:
        """Lets parts of the method find out what they do once an epoch. A collective call.

        Args:
            done: epochs done, this one included.
            trusted: this rank's share of the trusted samples that are not held out; called where somebody asks.
            errors: as :class:`~ray_mentor.core.epoch.EpochEnd` has them.
            tell: says something to whoever watches.
        """
        end = EpochEnd(
            done,
            progress=min(self.step_number / self._total_steps, 1.0),
            predicted=lambda: predicted_by_class(self.bare, trusted(), self.n_classes, self.exchange),
            errors=errors,
            remembered=lambda: self.history.whole(self.exchange)[:, self.history.length :][:, self._kept],
            labelled=lambda: losses_by_label(
                self.bare, self.parts.shown_loss, trusted(), self.n_classes, self.exchange
            ),
            percentile=self.percentile.value,
            class_shares=lambda: self.guards.shares.of(self.n_classes),
            agreed=self.exchange.broadcast_floats,
            tell=tell,
        )
        for part in self.parts.at_epoch:
            part.at_epoch(end)

    def _weighed(self, seen: Observation) -> Weighed:
        return self.weigh(seen, self.score(seen))

    @property
    def views(self) -> int:
        """In how many ways each sample of the batch that comes is to be shown, where there are several."""
        return self.parts.relabelling.views if self.parts.relabelling and self._is_relabelled else 1

    @property
    def _is_relabelled(self) -> bool:
        return self.parts.relabelling is not None and self.parts.relabelling.is_due

    @property
    def _is_mixed_by_weight(self) -> bool:
        """In every step, or in as many as the student memorises; the same on every rank."""
        if not self.parts.mixing.as_memorised:
            return self.parts.mixing.by_weight
        share = self.memorising.share
        return share > 0 and float(torch.rand((), generator=self.generator("memorising"), dtype=torch.float64)) < share

    @property
    def _mixing_draw(self) -> torch.Generator:
        return self.generator("mixing", self.exchange.rank)

    def _looked(self, batch: Batch) -> Weighed:
        """The batch weighed as it is, without a graph; the training forward finds everything as it was."""
        share_buffers(self.student)
        slopes = self._slopes(batch)
        with torch.no_grad(), kept_buffers(self.bare), untouched(self._device):
            outputs = passed_through(self.bare, batch)
            losses = losses_of(outputs, self.parts.shown_loss, batch)
        said = said_of(outputs, batch.labels, self.n_classes, is_pair=losses.ndim > 1)
        seen = dataclasses.replace(self.observe_losses(batch, losses, said=said), slopes=slopes, outputs=outputs)
        if self.parts.mixing.weighs_anew:  # the guards look at the weights that the student learns under
            return self._scheduled(seen, self.score(seen), overruled=False)
        return self._weighed(seen)

    def _slopes(self, batch: Batch) -> Float[Tensor, " batch"] | None:
        """Before the training forward, whose buffers and random state another pass must not change."""
        return self.meta.slopes(self.step_number, batch) if self.parts.weighting.needs_slopes else None

    def _learnt_from(self, looked: Weighed) -> Weighed:
        if self.parts.relabelling is None:
            return self._mixed(looked)
        return self._sent(self.parts.relabelling(looked, self.student, self.exchange, self._mixing_draw))

    def _mixed(self, looked: Weighed) -> Weighed:
        """Mixed by the sample weights that it has: what the student learns from, under the same weights or new ones."""
        own = looked.sample_weights[looked.seen.own]
        batch = self.parts.mixing(looked.seen.batch, self._mixing_draw, own)
        outputs = passed_through(self.student, batch)
        losses = losses_of(outputs, self.parts.loss, batch)
        seen = dataclasses.replace(looked.seen, batch=batch, losses=losses)
        if self.parts.mixing.weighs_anew:
            with torch.no_grad():
                shown = losses_of(outputs, self.parts.shown_loss, batch)
            again = self._weighed(again_observed(seen, shown, self.exchange, self.percentile))
            return self._sent(dataclasses.replace(again, unmixed=looked))
        loss = weighted_loss(losses, looked.normalised, self.exchange.world_size)
        return self._sent(dataclasses.replace(looked, seen=seen, loss=loss))

    def _student_step(self, weighed: Weighed, before: Before | None) -> Before | None:
        if before:
            before.follow(weighed.loss)
        rule = self.parts.gradient_rule
        wanted = functools.partial(self.meta.gradient_before, self.step_number) if rule.needs_meta_gradient else None
        check = functools.partial(self.check, weighed)
        self.clipped = student_step(self.bare, self.optimizers, weighed.loss, rule, wanted, self._clip, check)
        return before and dataclasses.replace(before, clipped=self.clipped)

    def generator(self, purpose: str, rank: int = 0) -> torch.Generator:
        """Randomness that depends on seed, step, purpose and rank alone, so that a resumed run draws the same."""
        words = [self._seed, self.step_number, rank, *purpose.encode()]
        return torch.Generator().manual_seed(int(np.random.SeedSequence(words).generate_state(1, np.uint64)[0] >> 1))
