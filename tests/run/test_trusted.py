"""The student is trained on a part of the trusted samples, too: which, when, and with what weight."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from small_jobs import job_of
from torch import Tensor

from ray_mentor.core.batch import Batch
from ray_mentor.core.exchange import Alone
from ray_mentor.data import Splits
from ray_mentor.data.plan.batches import Plan
from ray_mentor.data.plan.order import Shuffled
from ray_mentor.on_ray.train.assemble import assemble
from ray_mentor.run.batch_of import batch_of
from ray_mentor.run.job import Job
from ray_mentor.run.meta_set.trusted import TrustedBeside, parts_of, trained_on

pytestmark = pytest.mark.usefixtures("outside_of_ray_train")


class Rank(Alone):
    def __init__(self, rank: int, world_size: int) -> None:
        self.rank, self.world_size = rank, world_size


def trusting(splits: Splits, share: float, method: str = "mentornet") -> Job:
    job = job_of(splits, {}, method)
    return dataclasses.replace(job, config=job.config.changed(meta_in_training=share))


def batches_of(splits: Splits, job: Job, exchange: Alone, epochs: int = 1) -> list[Batch]:
    plan = Plan(Shuffled(len(splits.train)), 32, job.run.seed, epochs)
    beside = TrustedBeside(parts_of(splits.meta, job), plan, exchange)
    return [beside(batch_of(splits.train, rows, exchange, ()), step) for step, (_, rows, _) in enumerate(plan.steps())]


def test_an_epoch_holds_each_of_them_once(small_splits: Splits) -> None:
    job = trusting(small_splits, 0.5)
    trained = parts_of(small_splits.meta, job).trained
    assert trained is not None
    found = batches_of(small_splits, job, Alone())
    trusted = torch.cat([batch.ids[flags(batch)] for batch in found])
    assert sorted(trusted.tolist()) == sorted(trained.ids.tolist())
    untrusted = torch.cat([batch.ids[~flags(batch)] for batch in found])
    assert sorted(untrusted.tolist()) == sorted(small_splits.train.ids.tolist())
    rows = torch.cat([batch.rows for batch in found])
    assert sorted(rows.tolist()) == list(range(trained_on(small_splits.train, parts_of(small_splits.meta, job))))
    by_id = dict(zip(trained.ids.tolist(), trained.labels.tolist(), strict=True))
    for batch in found:
        inputs = batch.inputs
        assert isinstance(inputs, Tensor)
        for place in flags(batch).nonzero()[:, 0].tolist():
            row = int(batch.rows[place]) - len(small_splits.train)
            assert torch.equal(inputs[place], trained.inputs.take(np.array([row]))[0])
            assert int(batch.labels[place]) == by_id[int(batch.ids[place])]


def flags(batch: Batch) -> Tensor:
    assert batch.trusted is not None
    return batch.trusted


@pytest.mark.parametrize("world_size", [2, 3])
def test_ranks_know_what_the_others_hold(small_splits: Splits, world_size: int) -> None:
    job = trusting(small_splits, 0.5)
    ranks = [batches_of(small_splits, job, Rank(rank, world_size)) for rank in range(world_size)]
    alone = batches_of(small_splits, job, Alone())
    for whole, *shares in zip(alone, *ranks, strict=True):
        for share in shares:
            assert share.rank_sizes == tuple(map(len, shares))
            assert share.all_rows is not None
            assert share.all_rows.tolist() == torch.cat([other.rows for other in shares]).tolist()
        assert sorted(torch.cat([share.rows for share in shares]).tolist()) == sorted(whole.rows.tolist())


def test_none_of_them(small_splits: Splits) -> None:
    job = trusting(small_splits, 0.0)
    assert all(batch.trusted is None for batch in batches_of(small_splits, job, Alone()))
    assert trained_on(small_splits.train, parts_of(small_splits.meta, job)) == len(small_splits.train)


@pytest.mark.parametrize("method", ["mentornet", "uniform", "self-paced", "oracle"])
def test_their_weight_is_1_and_the_record_leaves_them_out(small_splits: Splits, method: str) -> None:
    job = trusting(small_splits, 0.5, method)
    curriculum = assemble(job, small_splits, parts_of(small_splits.meta, job), Alone(), 20)
    for batch in batches_of(small_splits, job, Alone()):
        seen = curriculum.observe(batch)
        scored = curriculum.score(seen)
        assert torch.equal(seen.features.trusted, flags(batch))
        assert (scored[flags(batch)] == 1).all()
        record = curriculum.step(batch)
        assert record.batch.ids.tolist() == batch.ids[~flags(batch)].tolist()
        assert len(record.losses) == len(record.scored) == len(record.sample_weights) == len(record.influence)
        assert len(record.losses) == int((~flags(batch)).sum())


def test_what_is_held_out_teaches_nobody(small_splits: Splits) -> None:
    parts = parts_of(small_splits.meta, trusting(small_splits, 1.0))
    assert parts.trained is not None
    assert parts.held_out is not None
    assert parts.trained.ids.tolist() == parts.learnt.ids.tolist()
    assert not set(parts.held_out.ids) & set(parts.learnt.ids)
