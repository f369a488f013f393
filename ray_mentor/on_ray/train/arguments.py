"""The trainer's arguments, in the form that a run needs them."""

from __future__ import annotations

import dataclasses
import os
from typing import Any

import ray.train
from torch.utils.data import Dataset

from ray_mentor.config import TrainConfig
from ray_mentor.data.plan.batches import epoch_batches
from ray_mentor.data.plan.order import Shuffled
from ray_mentor.data.samples.samples import Samples, samples_from_dataset
from ray_mentor.data.splits.splits import Splits
from ray_mentor.errors import UserError
from ray_mentor.on_ray.session.growth import Needs
from ray_mentor.run.job import Job

Data = Samples | Dataset[Any]


def splits_of(data: Data, meta: Data, test: Data | None, validation: Data | None) -> Splits:
    """All of a run's data, with the training data's classes."""
    train = _samples(data)

    def alike(other: Data) -> Samples:
        return _samples(other, train.classes)

    return Splits(
        train=train,
        validation=None if validation is None else alike(validation),
        meta=alike(meta),
        test=None if test is None else alike(test),
        notes=(),
    )


def _samples(data: Data, classes: tuple[str, ...] | None = None) -> Samples:
    return data if isinstance(data, Samples) else samples_from_dataset(data, classes=classes)


def check_shares(splits: Splits, batch_size: int, scaling: Any) -> None:
    """Refuses batches of which some worker would get no sample."""
    most: int = scaling.max_workers  # Ray's annotations lack it
    smallest = min(map(len, epoch_batches(Shuffled(len(splits.train)), batch_size, 0, 0)))
    if smallest < most:
        raise UserError(
            f"batch_size is {batch_size}, which cuts the {len(splits.train)} training samples into batches of "
            f"{smallest}, but each of the {most} workers needs a sample of every batch; raise --batch-size, or give "
            "fewer --workers"
        )
    if len(splits.meta) < most:
        raise UserError(
            f"the meta set has {len(splits.meta)} samples, but each of the {most} workers needs one; give more, or "
            "fewer --workers"
        )


def placed(run: ray.train.RunConfig, max_failures: int) -> ray.train.RunConfig:
    """With an absolute storage path, and our defaults where it has Ray's."""
    storage = str(run.storage_path)
    failures = run.failure_config
    if failures is None or failures == ray.train.FailureConfig():
        failures = ray.train.FailureConfig(max_failures=max_failures)
    return dataclasses.replace(
        run,
        storage_path=storage if "://" in storage else os.path.abspath(os.path.expanduser(storage)),
        checkpoint_config=checkpoint_config(run),
        failure_config=failures,
    )


def checkpoint_config(run: ray.train.RunConfig) -> ray.train.CheckpointConfig:
    """The two newest checkpoints are kept unless it says how many."""
    given = run.checkpoint_config or ray.train.CheckpointConfig()
    return ray.train.CheckpointConfig(num_to_keep=2) if given == ray.train.CheckpointConfig() else given


def least_needs(scaling: Any) -> Needs:
    """CPUs and GPUs without which the workers can never start."""
    total = scaling.total_resources
    each = {name: total[name] / scaling.max_workers for name in ("CPU", "GPU") if name in total}
    return Needs(each, scaling.min_workers)


def plain_settings(job: Job, scaling: Any) -> dict[str, Any]:
    """The settings that have a plain value, for the run's config file."""
    own = {f.name: getattr(job, f.name) for f in dataclasses.fields(job) if f.name in TrainConfig().flat()}
    simple = {name: value for name, value in own.items() if isinstance(value, str | int | float)}
    workers = {"workers": scaling.max_workers}
    return {**simple, **workers, **dataclasses.asdict(job.mentor), **dataclasses.asdict(job.curriculum)}
