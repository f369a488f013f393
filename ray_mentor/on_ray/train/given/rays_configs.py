"""Ray's own configs and the settings, each as the other has it."""

from __future__ import annotations

import dataclasses
import sys
from typing import Any

import ray.train

from ray_mentor.config import RunSettings, TrainConfig
from ray_mentor.data.plan.batches import epoch_batches
from ray_mentor.data.plan.order import Shuffled
from ray_mentor.data.splits.splits import Splits
from ray_mentor.errors import UserError
from ray_mentor.on_ray.session.growth import Needs
from ray_mentor.run.directory import RunDirectory, absolute


def check_batches(splits: Splits, batch_size: int, scaling: Any) -> None:
    """Refuses batches of which some worker would get no sample."""
    most: int = scaling.max_workers  # Ray's annotations lack it
    smallest = min(map(len, epoch_batches(Shuffled(len(splits.train)), batch_size, 0, 0)))
    if smallest < most:
        raise UserError(
            f"batch_size is {batch_size}, which cuts the {len(splits.train)} training samples into batches of "
            f"{smallest}, but each of the {most} workers needs a sample of every batch; raise --batch-size, or give "
            "fewer --workers"
        )
    if 0 < len(splits.meta) < most:
        raise UserError(
            f"the meta set has {len(splits.meta)} samples, but each of the {most} workers needs one; give more, or "
            "fewer --workers"
        )


def scaling_of(run: RunSettings) -> ray.train.ScalingConfig:
    """Ray's picture of the workers that the settings ask for."""
    workers: Any = run.n_workers if run.min_workers is None else (run.min_workers, run.n_workers)
    share = {"CPU": 1, "GPU": run.gpus_per_worker} if run.gpu else None
    return ray.train.ScalingConfig(num_workers=workers, use_gpu=run.gpu, resources_per_worker=share)


def placed(given: ray.train.RunConfig | None, run: RunSettings) -> ray.train.RunConfig:
    """With an absolute storage path, and the settings' values where it has Ray's defaults.

    Raises:
        UserError: it asks for what a run does not do.
    """
    rays = given or ray.train.RunConfig(name=run.run_name, storage_path=run.storage_path)
    _check_checkpoints_and_failures(rays)
    storage = str(rays.storage_path)
    failures, checkpoints = rays.failure_config, rays.checkpoint_config
    if failures is None or failures == ray.train.FailureConfig():
        failures = ray.train.FailureConfig(max_failures=run.max_failures)
    if checkpoints is None or checkpoints == ray.train.CheckpointConfig():
        checkpoints = ray.train.CheckpointConfig(num_to_keep=run.keep_checkpoints)
    return dataclasses.replace(
        rays,
        storage_path=absolute(storage) if rays.storage_filesystem is None else storage,
        checkpoint_config=checkpoints,
        failure_config=failures,
    )


def directory_of(run: ray.train.RunConfig) -> RunDirectory:
    """Where a run of this name writes."""
    return RunDirectory.within(str(run.storage_path), str(run.name), run.storage_filesystem)


def as_told_to_ray(run: ray.train.RunConfig, callbacks: list[Any]) -> ray.train.RunConfig:
    """With callbacks of ours beside the user's.

    Which failures end a run is for one of them to say, and its checkpoints are none of Ray's.
    """
    given: Any = run.failure_config
    return dataclasses.replace(
        run,
        callbacks=[*(run.callbacks or ()), *callbacks],
        failure_config=dataclasses.replace(given, max_failures=-1),
        checkpoint_config=None,
    )


def _check_checkpoints_and_failures(given: ray.train.RunConfig) -> None:
    checkpoints: Any = given.checkpoint_config
    failures: Any = given.failure_config
    if checkpoints.checkpoint_score_attribute is not None:
        raise UserError(
            f"checkpoint_config has checkpoint_score_attribute {checkpoints.checkpoint_score_attribute!r}, but a run "
            "keeps its newest checkpoints, which it goes on from; leave it out (held-out trusted samples say which "
            "epoch's student is kept)"
        )
    if getattr(failures, "relax_collectives_on_preemption", False):  # Ray 2.59 has no such field
        raise UserError(
            "failure_config has relax_collectives_on_preemption, but a step needs all workers; leave it out"
        )


def check_honoured(given: ray.train.RunConfig | None, scaling: Any) -> None:
    """Refuses what so many workers, or none, don't do.

    Raises:
        UserError: naming it.
    """
    if scaling.use_tpu:
        raise UserError("scaling_config has use_tpu, but students train on CPUs and GPUs; leave it out")
    asked = what_needs_workers(given)
    if asked is not None and scaling.max_workers == 0:
        raise UserError(asked)


def what_needs_workers(given: ray.train.RunConfig | None) -> str | None:
    """What Ray's config asks for that a run in this process does not do, as it is refused there."""
    if given is None:
        return None
    for name, (default, why) in _NEEDS_WORKERS.items():
        if getattr(given, name) != default:
            return f"{name} is given, but num_workers is 0: {why}; leave it out, or give 1 worker or more"
    for callback in given.callbacks or ():
        if not isinstance(callback, ray.train.UserCallback):
            return (
                f"callbacks has a {type(callback).__name__}, but num_workers is 0, where Ray has nothing that it could "
                "call; give a ray.train.UserCallback, or 1 worker or more"
            )
    return None


_NEEDS_WORKERS: dict[str, tuple[Any, str]] = {
    "failure_config": (ray.train.FailureConfig(), "what fails in this process nobody starts again"),
    "worker_runtime_env": ({}, "there is no process to make"),
    "logging_config": (ray.train.LoggingConfig(), "Ray Train logs nothing then"),
}
"""Of a RunConfig: Ray's defaults, and why another value would do nothing."""


def with_rays_own(config: TrainConfig, scaling: Any, run: ray.train.RunConfig) -> TrainConfig:
    """The settings with what Ray's own configs say: what is recorded and what happens are one."""
    checkpoints, failures = run.checkpoint_config, run.failure_config
    assert checkpoints is not None
    assert failures is not None
    workers, least = scaling.max_workers, scaling.min_workers
    return config.changed(
        workers=workers,
        min_workers=None if least == workers else least,
        gpu=bool(scaling.use_gpu),
        keep_checkpoints=checkpoints.num_to_keep or sys.maxsize,
        max_failures=failures.max_failures,
    )


def least_needs(scaling: Any) -> Needs:
    """CPUs and GPUs without which the workers can never start."""
    total = scaling.total_resources
    each = {name: total[name] / scaling.max_workers for name in ("CPU", "GPU") if name in total}
    return Needs(each, scaling.min_workers)
