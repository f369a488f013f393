"""The shares of a run's sources: which rows each step is shown, and an update at the first step of a window."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ray_mentor.core.batch import Batch
from ray_mentor.core.curriculum import Curriculum
from ray_mentor.core.domains.course import Course
from ray_mentor.core.domains.influences import Target
from ray_mentor.core.domains.windows import Drawn
from ray_mentor.core.exchange import AbstractExchange
from ray_mentor.core.step.record import StepRecord
from ray_mentor.core.student.random_state import untouched
from ray_mentor.core.student.shared_buffers import share_buffers
from ray_mentor.data.plan.batches import Plan
from ray_mentor.data.plan.mixed import MixedPlan
from ray_mentor.data.samples.draws import PROBED, drawn_from
from ray_mentor.data.samples.rows import Rows
from ray_mentor.data.samples.samples import Samples
from ray_mentor.data.splits.meta_parts import MetaParts
from ray_mentor.data.splits.splits import Splits
from ray_mentor.errors import UserError
from ray_mentor.run.job import Job
from ray_mentor.run.meta_set.batches import of_each_target
from ray_mentor.students.weights import Start


class RunMixture:
    """One rank's part of it; every rank calls the same methods.

    Args:
        train: samples of several sources.
        target: what training is for; of no samples where shares are not learnt.
        plan: of the run, but for what a step is shown.

    Attributes:
        plan: of the run.
        course: shares, windows and updates.
    """

    def __init__(
        self, job: Job, train: Samples, target: Samples, exchange: AbstractExchange, curriculum: Curriculum, plan: Plan
    ) -> None:
        assert train.domains is not None
        settings, seed = job.config.mixture, job.run.seed
        self._train, self._exchange, self._curriculum, self._seed = train, exchange, curriculum, seed
        self._rows, self._domains = train.domains.rows, train.domains.of
        self._device = next(curriculum.bare.parameters()).device
        self._targets = of_each_target(target, settings.target_batch, seed, exchange, self._device)
        self.course = Course(
            train.domains.names,
            train.domains.sizes,
            settings,
            exchange,
            total_steps=plan.total_steps,
            seed=seed,
            loss=curriculum.parts.shown_loss,
            target=lambda number: (
                [Target(batches(number), weight) for batches, weight in self._targets] if settings.needs_target else []
            ),
            fetch=self._fetched,
            reference=None if job.reference is None else _reference(job, job.reference).to(self._device),
        )
        self.plan = MixedPlan(plan.order, plan.batch_size, plan.seed, plan.epochs, self._drawn)
        self.course.begin(self.plan.step_size)

    def step(self, batch: Batch) -> StepRecord:
        """The curriculum's step on this rank's share of a batch; then an update looks back on it, where one is due."""
        curriculum, step = self._curriculum, self._curriculum.step_number
        at_hand = curriculum.bare, curriculum.optimizers
        if self.course.is_due(step):
            share_buffers(curriculum.student)
        before = self.course.before_step(step, *at_hand)
        record = curriculum.step(batch)
        self.course.saw(step, record.losses, self._domains[record.in_training.numpy()])
        if before is not None:
            with curriculum.clock("mixture"):
                self.course.after_step(step, dataclasses.replace(before, clipped=curriculum.clipped), *at_hand)
        return record

    def state(self, step: int) -> dict[str, Any]:
        """What it carries from one step to the next, in plain types."""
        return self.course.state(step)

    def load(self, state: Any) -> None:
        """Goes on where :meth:`state` was taken.

        Raises:
            UserError: a state of other sources or settings, or none.
        """
        self.course.load(state)

    def _drawn(self, step: int) -> Rows:
        return self._at(self.course.drawn_at(step))

    def _at(self, drawn: Drawn) -> Rows:
        """Rows of the training samples."""
        found = np.empty(len(drawn.rows), np.int64)
        for place, rows in enumerate(self._rows):
            own = drawn.domains == place
            found[own] = rows[drawn.rows[own]]
        return found

    def _fetched(self, drawn: Drawn) -> tuple[Any, Tensor]:
        rows = self._at(drawn)
        with drawn_from((self._seed, PROBED, self._curriculum.step_number, self._exchange.rank), self._train.inputs):
            inputs = self._train.inputs.take(rows)
        return inputs.to(self._device), self._train.for_loss(rows).to(self._device)


def _reference(job: Job, params: Start) -> nn.Module:
    with untouched(torch.device("cpu")):
        model = job.student()
    params.put_into(model)
    return model.eval()


def mixture_of(
    job: Job, splits: Splits, meta: MetaParts, exchange: AbstractExchange, curriculum: Curriculum, plan: Plan
) -> RunMixture | None:
    """That of a run whose samples come from several sources; None of any other."""
    if splits.train.domains is None:
        return None
    return RunMixture(job, splits.train, meta.learnt, exchange, curriculum, plan)


def take_up(mixture: RunMixture | None, state: Any) -> None:
    """Goes on with what a checkpoint says of a mixture.

    Raises:
        UserError: a state of other sources or settings, or none where there must be one.
    """
    if mixture is not None:
        mixture.load(state)
    elif state is not None:
        raise UserError(
            "the run's state is of several sources, of which each had a share, but here the data are one; go on with "
            "the data as they were, or start another run"
        )
