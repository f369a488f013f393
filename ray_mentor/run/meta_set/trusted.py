"""Where a run's trusted samples go: to the student, to the mentor, to the measurements."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

from ray_mentor.core.batch import Batch
from ray_mentor.core.exchange import AbstractExchange
from ray_mentor.data.plan.batches import Plan, rank_slice
from ray_mentor.data.samples.draws import TRUSTED
from ray_mentor.data.samples.samples import Samples
from ray_mentor.data.splits.meta_parts import MetaParts, joined_rows, meta_parts, trained_rows
from ray_mentor.data.storage.in_order import in_order
from ray_mentor.run.batch_of import batch_of
from ray_mentor.run.job import Job


def parts_of(meta: Samples, job: Job) -> MetaParts:
    """The meta set of ``job``, shared out; the same whether a mentor learns or not, so that runs can be compared."""
    return meta_parts(meta, holdout=job.mentor.meta_holdout, training=job.curriculum.in_training, seed=job.run.seed)


def trained_on(train: Samples, parts: MetaParts) -> int:
    """How many samples the student is trained on: the training split, and its part of the meta set."""
    return len(train) + (0 if parts.trained is None else len(parts.trained))


def group_sizes(train: Samples, beside: Samples | None) -> dict[str, int] | None:
    """Samples that the student is trained on of each group, by name; None where it is not known of all of them.

    Args:
        beside: trusted samples that it is trained on, too; None: none.
    """
    parts = [train, *([] if beside is None else [beside])]
    groups = [part.groups for part in parts if part.groups is not None]
    if len(groups) < len(parts):
        return None
    sizes = [sum(each) for each in zip(*(part.sizes for part in groups), strict=True)]
    return dict(zip(groups[0].names, sizes, strict=True))


@contextmanager
def trusted_beside(parts: MetaParts, plan: Plan, first: int, exchange: AbstractExchange) -> Iterator[TrustedBeside]:
    """For a rank that asks for those of each step from ``first`` on; they are read ahead where they have readers."""
    if parts.trained is None:
        yield TrustedBeside(parts, plan, exchange)
        return
    samples, rank = parts.trained, exchange.rank
    coming = (
        (
            rank_slice(trained_rows(len(samples), plan, step), rank, exchange.world_size),
            (plan.seed, TRUSTED, step, rank),
        )
        for step in range(first, plan.total_steps)
    )
    with in_order(samples.inputs, coming) as inputs:
        yield TrustedBeside(dataclasses.replace(parts, trained=samples.with_inputs(inputs)), plan, exchange)


class TrustedBeside:
    """Puts trusted samples beside those of a batch: each of the student's part of the meta set once in an epoch.

    Their rows follow those of the plan.
    """

    def __init__(self, parts: MetaParts, plan: Plan, exchange: AbstractExchange) -> None:
        self._samples = parts.trained
        self._first_row = len(plan.order)
        self._plan = plan
        self._exchange = exchange

    def __call__(self, batch: Batch, step: int) -> Batch:
        """The batch of ``step`` with its trusted samples, or as it is where there are none."""
        if self._samples is None:
            return batch
        rows = trained_rows(len(self._samples), self._plan, step)
        beside = batch_of(self._samples, rows, self._exchange, (self._plan.seed, TRUSTED, step))
        assert batch.all_rows is not None
        assert batch.rank_sizes is not None
        assert beside.rank_sizes is not None
        assert isinstance(batch.inputs, Tensor)
        assert isinstance(beside.inputs, Tensor)
        truth = None if batch.true_labels is None else torch.cat([batch.true_labels, beside.labels])
        groups = batch.groups, beside.groups
        return dataclasses.replace(
            batch,
            rows=torch.cat([batch.rows, self._first_row + beside.rows]),
            ids=torch.cat([batch.ids, beside.ids]),
            inputs=self._samples.inputs.join([batch.inputs, beside.inputs.to(batch.inputs.device)]),
            labels=torch.cat([batch.labels, beside.labels]),
            true_labels=truth,
            trusted=torch.arange(len(batch) + len(beside)) >= len(batch),
            groups=None if groups[0] is None or groups[1] is None else torch.cat([groups[0], groups[1]]),
            rank_sizes=tuple(a + b for a, b in zip(batch.rank_sizes, beside.rank_sizes, strict=True)),
            all_rows=joined_rows(batch.all_rows, self._first_row + rows, self._exchange.world_size),
        )
