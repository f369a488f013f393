"""What an epoch ends with: accuracies, and the mentor's own loss on trusted samples that it never learns from."""

from __future__ import annotations

import dataclasses
import functools
import math
from typing import Any

import numpy as np
import pytest
import torch
from scipy import stats
from small_jobs import job_of
from torch import Tensor, nn
from torch.nn import functional as F

from ray_mentor.core.curriculum import Curriculum
from ray_mentor.core.exchange import Alone
from ray_mentor.core.state.curriculum import capture_curriculum
from ray_mentor.core.step.memorising import MemorisingState
from ray_mentor.data import FeatureInputs, Samples, Splits
from ray_mentor.data.plan.batches import epoch_batches
from ray_mentor.data.plan.order import Shuffled
from ray_mentor.data.splits.meta_parts import MetaParts, meta_parts
from ray_mentor.errors import UserError
from ray_mentor.on_ray.train.assemble import assemble
from ray_mentor.run.accuracy import measured, wilson
from ray_mentor.run.batch_of import batch_of
from ray_mentor.run.job import Job
from ray_mentor.run.meta_set.trusted import parts_of
from ray_mentor.run.outcome import guard_figures

STEPS_AN_EPOCH = 5


pytestmark = pytest.mark.usefixtures("outside_of_ray_train")


def train(job: Job, epochs: int) -> tuple[Curriculum, list[dict[str, float | None]]]:
    assert isinstance(job.splits, Splits)
    curriculum = assemble(job, job.splits, parts_of(job.splits.meta, job), Alone(), epochs * STEPS_AN_EPOCH)
    rows = []
    for epoch in range(epochs):
        losses = []
        for chosen in epoch_batches(Shuffled(len(job.splits.train)), 32, 0, epoch):
            losses.append(curriculum.step(batch_of(job.splits.train, chosen, Alone(), ())).meta_loss)
        known = [loss for loss in losses if loss is not None]
        row = measured(curriculum, job.splits, parts_of(job.splits.meta, job).held_out, Alone()).figures
        rows.append({"meta_loss": sum(known) / len(known) if known else None, **row})
    return curriculum, rows


def test_the_held_out_meta_loss_in_evaluation_mode(small_splits: Splits) -> None:
    job = job_of(small_splits, {"meta_holdout": 0.3})
    curriculum, rows = train(job, 2)
    held_out = shared_out(small_splits).held_out
    assert held_out is not None
    assert len(held_out) == 9
    inputs, labels = held_out.inputs.take(np.arange(9)), torch.from_numpy(held_out.labels)
    assert isinstance(inputs, Tensor)
    assert curriculum.bare.training
    curriculum.bare.eval()
    chances = F.softmax(curriculum.bare(inputs), dim=1)[torch.arange(9), labels]
    assert rows[-1]["meta_holdout_loss"] == pytest.approx(1 - chances.mean().item(), rel=1e-5)
    names = ["trusted_accuracy", "test_accuracy", "test_agreement", "validation_agreement"]
    assert list(rows[-1]) == ["meta_loss", "meta_holdout_loss", *names]
    hits = curriculum.bare(inputs).argmax(dim=1) == labels
    assert rows[-1]["trusted_accuracy"] == pytest.approx(hits.double().mean().item())
    assert curriculum.guards.state.lowest_holdout == min(row["meta_holdout_loss"] or 0.0 for row in rows)


@pytest.mark.parametrize("method", ["uniform", "oracle", "self-paced"])
def test_what_is_known_by_heart_is_measured_without_a_mentor_where_mixing_goes_by_it(
    small_splits: Splits, method: str
) -> None:
    job = job_of(small_splits, {"meta_holdout": 0.3}, method)
    mixing = dataclasses.replace(job, config=job.config.changed(mixing="mentormix", meta_in_training=1.0))
    curriculum = assemble(mixing, small_splits, parts_of(small_splits.meta, mixing), Alone(), 100)
    curriculum.memorising.state = MemorisingState(total=0.1, samples=100)  # of an epoch in which it was right
    figures = measured(curriculum, small_splits, parts_of(small_splits.meta, mixing).held_out, Alone()).figures
    unseen = figures["meta_holdout_loss"]
    assert unseen is not None
    assert curriculum.memorising.share == pytest.approx(1 - 0.001 / unseen)
    assert train(job, 1)[1][-1]["meta_holdout_loss"] is None


def test_the_mentor_never_learns_from_what_is_held_out(small_splits: Splits) -> None:
    job = job_of(small_splits, {"meta_holdout": 0.3, "meta_batch_size": 8})
    curriculum = assemble(job, small_splits, parts_of(small_splits.meta, job), Alone(), 10)
    parts = shared_out(small_splits)
    assert parts.held_out is not None
    seen = torch.cat([curriculum.parts.meta_batch(n).inputs for n in range(20)])  # type: ignore[misc]
    assert {tuple(row) for row in seen.tolist()} == {tuple(row) for row in rows_of(parts.learnt)}
    assert not {tuple(row) for row in seen.tolist()} & {tuple(row) for row in rows_of(parts.held_out)}


def shared_out(splits: Splits) -> MetaParts:
    return meta_parts(splits.meta, holdout=0.3, training=0.5, seed=0)


def rows_of(samples: Samples) -> list[list[float]]:
    values = samples.inputs.take(np.arange(len(samples)))
    assert isinstance(values, Tensor)
    return values.tolist()


def test_two_workers_measure_their_shares(small_splits: Splits) -> None:
    class Half(Alone):
        world_size = 2
        given: float = 0.0

        def __init__(self, rank: int) -> None:
            self.rank = rank

        def total(self, value: float) -> float:
            Half.given += value
            return value

    job = job_of(small_splits, {"meta_holdout": 0.3})
    curriculum, rows = train(job, 1)
    shares = []
    for rank in range(2):
        shares.append(
            measured(curriculum, small_splits, parts_of(small_splits.meta, job).held_out, Half(rank)).figures[
                "meta_holdout_loss"
            ]
            or 0.0
        )
    assert sum(shares) == pytest.approx(rows[0]["meta_holdout_loss"])
    assert min(shares) > 0


def test_every_method_is_measured_on_the_same_held_out_samples(small_splits: Splits) -> None:
    curriculum, rows = train(job_of(small_splits, {"meta_holdout": 0.3}, "uniform"), 1)
    assert rows[0]["meta_holdout_loss"] is None, "there is no mentor that makes it small"
    assert rows[0]["trusted_accuracy"] is not None
    assert round(9 * rows[0]["trusted_accuracy"], 6).is_integer()
    assert curriculum.guards.state.lowest_holdout is None


def test_nothing_is_held_out_without_a_share(small_splits: Splits) -> None:
    curriculum, rows = train(job_of(small_splits, {"meta_holdout": 0.0, "meta_batch_size": 30}), 1)
    assert rows[0]["meta_holdout_loss"] is None
    assert rows[0]["trusted_accuracy"] is None
    assert rows[0]["test_accuracy"] is not None
    assert len(curriculum.parts.meta_batch(0).labels) == 30, "the mentor learns from all of them"
    assert curriculum.guards.state.lowest_holdout is None


def test_labels_that_may_be_wrong_show_agreement_and_no_accuracy(small_splits: Splits) -> None:
    assert small_splits.test is not None
    unknown = small_splits.test.with_labels(small_splits.test.labels, None)
    _, known = train(job_of(small_splits, {}), 1)
    _, rows = train(job_of(dataclasses.replace(small_splits, test=unknown), {}), 1)
    assert (known[0]["test_agreement"], rows[0]["test_accuracy"]) == (None, None)
    assert rows[0]["test_agreement"] == known[0]["test_accuracy"]


def test_hits_come_in_the_order_of_the_samples_whichever_rank_has_them(small_splits: Splits) -> None:
    """Rank r of 2 measures its half; both put the halves together."""
    job = job_of(small_splits, {"meta_holdout": 0.3})
    curriculum, _ = train(job, 1)
    held_out = parts_of(small_splits.meta, job).held_out
    whole = measured(curriculum, small_splits, held_out, Alone()).hits
    assert whole is not None
    halves: list[Tensor] = []

    class Half(Alone):
        world_size = 2

        def __init__(self, rank: int) -> None:
            self.rank = rank

        def gather_any(self, rows: Tensor) -> Tensor:
            halves.append(rows)
            return torch.cat(halves)

    measured(curriculum, small_splits, held_out, Half(0))
    found = measured(curriculum, small_splits, held_out, Half(1)).hits
    assert [len(half) for half in halves] == [5, 4]
    assert found is not None
    assert found.tolist() == whole.tolist()


@pytest.mark.parametrize(
    ("right", "count", "low", "high"), [(0, 10, 0.0, 0.2775), (9, 10, 0.5958, 0.9821), (30, 30, 0.8865, 1.0)]
)
def test_wilsons_interval(right: int, count: int, low: float, high: float) -> None:
    assert wilson(right, count) == pytest.approx((low, high), abs=1e-4)
    assert wilson(right, count) == pytest.approx(
        tuple(stats.binomtest(right, count).proportion_ci(0.95, "wilson")), abs=1e-9
    )


N, WIDTH = 150, 30


def own_labels(n: int, seed: int) -> Samples:
    """Three clusters; the label of sample i is 3i + its class, which names the sample to a mentor that sees labels."""
    draw = np.random.default_rng(seed)
    labels = np.arange(n) % 3
    values = (3 * np.eye(3, WIDTH)[labels] + draw.standard_normal((n, WIDTH))).astype(np.float32)
    names = tuple(map(str, range(3 * N)))
    return Samples(FeatureInputs(values), 1000 * seed + np.arange(n), 3 * np.arange(n) + labels, None, names)


def by_class(outputs: Tensor, labels: Tensor) -> Tensor:
    return F.cross_entropy(outputs, labels % 3, reduction="none")


def learning_by_heart(patience: int, *, random: bool) -> tuple[Curriculum, list[dict[str, float | None]]]:
    """A mentor with a param a sample, and 12 meta samples to learn from; 48 are held out."""
    train_samples, meta = own_labels(N, 1), own_labels(60, 2)
    draw = np.random.default_rng(5)
    wrong = (train_samples.labels % 3 + (draw.random(N) < 0.4)) % 3
    classes = draw.permutation(meta.labels % 3) if random else meta.labels % 3
    splits = Splits(
        train_samples.with_labels(3 * np.arange(N) + wrong, None), None, meta.with_labels(classes, None), None, ()
    )
    settings: dict[str, Any] = {"meta_holdout": 0.8, "mentor_patience": patience, "mentor_learning_rate": 0.1}
    settings["meta_loss"] = "error"
    free: dict[str, Any] = {"mentor_features": ("label",), "mentor_hidden": (), "entropy": 0.0, "min_class_share": 0.0}
    job = job_of(splits, {**settings, **free})
    alone = job.config.changed(meta_in_training=0.0)
    student = functools.partial(nn.Linear, WIDTH, 3)
    return train(dataclasses.replace(job, loss=by_class, config=alone, student=student), 24)


@pytest.mark.long
def test_a_mentor_that_learns_random_meta_labels_by_heart_is_seen() -> None:
    for random in (True, False):
        curriculum, rows = learning_by_heart(0, random=random)
        learnt, held_out = rows[-1]["meta_loss"], rows[-1]["meta_holdout_loss"]
        assert learnt is not None
        assert held_out is not None
        assert learnt < (0.45 if random else 0.25), "chance is 0.67"
        assert (held_out > 0.6) if random else (held_out < 0.25)
        assert curriculum.guards.stopped_at is None, "it has all the patience in the world"


@pytest.mark.long
def test_a_mentor_that_learns_random_meta_labels_by_heart_is_stopped() -> None:
    stopped, rows = learning_by_heart(5, random=True)
    at = stopped.guards.stopped_at
    assert at is not None
    assert 6 * STEPS_AN_EPOCH <= at < 24 * STEPS_AN_EPOCH
    assert stopped.meta.done == at
    lows = [row["meta_holdout_loss"] or 0.0 for row in rows][: at // STEPS_AN_EPOCH]
    assert min(lows) == lows[-6], "five epochs without a lower one"
    assert [row["meta_loss"] is None for row in rows] == [epoch * STEPS_AN_EPOCH >= at for epoch in range(24)]
    assert learning_by_heart(5, random=False)[0].guards.stopped_at is None


def test_figures_of_the_guards(small_splits: Splits) -> None:
    curriculum, rows = train(job_of(small_splits, {"meta_holdout": 0.3}), 2)
    curriculum.guards.count_fallback()
    curriculum.guards.count_inconsistent()
    curriculum.guards.note_influences(torch.zeros(3))
    figures = guard_figures(capture_curriculum(curriculum, None), [*rows, {**rows[-1], "meta_loss": None}])
    assert figures == {
        "fallbacks": 1,
        "skipped_updates": 0,
        "inconsistent_updates": 1,
        "updates_without_influence": 1,
        "mentor_stopped_at": None,
        "meta_loss": rows[-1]["meta_loss"],
        "meta_holdout_loss": rows[-1]["meta_holdout_loss"],
    }
    assert math.isfinite(figures["meta_loss"] or math.nan)
    plain, rows = train(job_of(small_splits, {}, "uniform"), 1)
    assert guard_figures(capture_curriculum(plain, None), rows) is None


class Three(Alone):
    world_size = 3


def test_a_meta_set_that_leaves_a_worker_without_a_sample(small_splits: Splits) -> None:
    splits = dataclasses.replace(small_splits, meta=small_splits.meta.select(np.array([0, 3, 6])))
    job = job_of(splits, {"meta_holdout": 0.4})
    with pytest.raises(UserError) as raised:
        assemble(job, splits, parts_of(splits.meta, job), Three(), 10)
    assert str(raised.value) == (
        "meta_holdout 0.4 leaves the mentor 2 of 3 meta samples, but each of the 3 workers needs one; "
        "give more, or --meta-holdout 0"
    )


@pytest.mark.parametrize(
    ("method", "patience", "mixing", "setting", "instead"),
    [
        ("mentornet", 2, None, "mentor_patience is 2", "--mentor-patience 0"),
        ("mentornet", 0, "mentormix", "mixing is 'mentormix'", "--mixing none"),
        ("uniform", 0, "mentormix", "mixing is 'mentormix'", "--mixing none"),
    ],
)
def test_a_meta_set_of_which_nothing_can_be_held_out(
    small_splits: Splits, method: str, patience: int, mixing: str | None, setting: str, instead: str
) -> None:
    splits = dataclasses.replace(small_splits, meta=small_splits.meta.select(np.arange(3)))
    job = job_of(splits, {"mentor_patience": patience}, method)
    job = dataclasses.replace(job, config=job.config.changed(mixing=mixing))
    with pytest.raises(UserError) as raised:
        assemble(job, splits, parts_of(splits.meta, job), Alone(), 10)
    assert str(raised.value) == (
        f"{setting}, but of 3 meta samples none can be held out (meta_holdout 0.3, one of each class stays); "
        f"give more, or {instead}"
    )
