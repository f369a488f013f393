"""The trainer's arguments, in the form that a run needs them."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Collection, Mapping
from typing import Any

import numpy as np
import ray.train
import torch
from torch import nn
from torch.utils.data import Dataset

from ray_mentor.config import DataConfig, RunSettings, TrainConfig, names_of
from ray_mentor.data.plan.batches import epoch_batches
from ray_mentor.data.plan.order import Shuffled
from ray_mentor.data.python.given import given
from ray_mentor.data.samples.dataset_inputs import DatasetInputs
from ray_mentor.data.samples.samples import Samples
from ray_mentor.data.splits.splits import Splits
from ray_mentor.errors import UserError, listed, shown
from ray_mentor.on_ray.session.growth import Needs
from ray_mentor.run.directory import absolute

Data = Samples | Dataset[Any] | Any
"""What :func:`~ray_mentor.data.python.given.given` takes."""


def splits_of(
    data: Data,
    meta: Data | None,
    test: Data | None,
    validation: Data | None,
    readers: int = 0,
    *,
    config: DataConfig = DataConfig(),  # noqa: B008 - frozen
    own_loss: bool = False,
) -> Splits:
    """All of a run's data, with the training data's classes.

    Args:
        meta: None: no trusted sample.
        readers: processes that read ahead what is a data set.
        config: which column of a table is what, and whether the test split's given labels are the true ones
            (``clean_test``); else it may bring true labels of its own.
        own_loss: whether there is a loss of the user's own, which takes targets that aren't one class, too.

    Raises:
        UserError: inputs of another type than the training data's; joined to a batch, integers would become floats. Or
            no data set, and there shall be readers.
    """
    first = given(data, config, targets=own_loss)
    train = first.samples

    def alike(other: Data, name: str) -> Samples:
        try:
            samples = given(other, config, first, targets=own_loss).samples
        except UserError as error:
            raise UserError(f"{name}: {error}") from error
        if _kind_of(samples) != _kind_of(train):
            raise UserError(f"{name} has {_kind_of(samples)}, but data {_kind_of(train)}; give targets of one kind")
        if samples.inputs.dtype != train.inputs.dtype:
            raise UserError(
                f"{name} gives inputs of {samples.inputs.dtype}, but data of {train.inputs.dtype}; convert one of them"
            )
        return samples

    tested = None if test is None else alike(test, "test")
    if tested is not None and config.clean_test:
        tested = tested.with_labels(tested.labels, tested.labels)
    splits = Splits(
        train=train,
        validation=None if validation is None else alike(validation, "validation"),
        meta=train.select(np.arange(0)) if meta is None else alike(meta, "meta"),
        test=tested,
        notes=(),
        features=first.features,
    )
    return splits if readers == 0 else _read_by(splits, readers)


def _kind_of(samples: Samples) -> str:
    targets = samples.targets
    return "classes" if targets is None else f"targets of {targets.dtype} and shape {targets.shape[1:]}"


Parts = tuple[Data, Data | None, Data | None, Data | None]


def named_parts(
    data: Data | None,
    meta: Data | None,
    test: Data | None,
    validation: Data | None,
    datasets: Mapping[str, Data] | None,
) -> Parts:
    """Training, trusted, test and validation samples, given one by one or by name.

    Raises:
        UserError: both, a name that is none of theirs, or no training samples.
    """
    one_by_one = {"data": data, "meta": meta, "test": test, "validation": validation}
    if datasets is None:
        if data is None:
            raise UserError("there is no training data; give data, or datasets={'train': ...}")
        return data, meta, test, validation
    twice = [name for name, value in one_by_one.items() if value is not None]
    if twice:
        raise UserError(f"datasets and {twice[0]} are both given, but they say the same; give one of them")
    unknown = [name for name in datasets if name not in _SPLITS]
    if unknown or "train" not in datasets:
        what = f"holds {shown(unknown[0])}" if unknown else "has no 'train'"
        raise UserError(
            f"datasets {what}, but its names are {listed(_SPLITS)}, of which train must be there; mend them"
        )
    return tuple(datasets.get(name) for name in ("train", "meta", "test", "validation"))  # type: ignore[return-value]


WITHOUT_CLASSES = (
    "the targets aren't one class each: no accuracy, no predictions and no suggested labels; the audit ranks samples "
    "by mean loss and mean sample weight"
)


def check_has_classes(splits: Splits, config: TrainConfig) -> None:
    """Refuses what goes by classes where the targets are none.

    Raises:
        UserError: naming the setting.
    """
    if splits.train.targets is None:
        return
    schedule, mentor = config.curriculum, config.mentor
    asked = {
        "method": schedule.method in ("mentornet-dd", "oracle", "co-teaching", "dividemix"),
        "meta_from": schedule.meta_from != "trusted",
        "mentor": mentor.mentor == "cmw",
        "mentor_features": "label" in mentor.mentor_features,
        "meta_loss": mentor.meta_loss == "error",
    }
    name = next((name for name, needs_classes in asked.items() if needs_classes), None)
    if name is not None:
        raise UserError(
            f"{name} is {shown(config.flat()[name])}, which goes by classes, but the targets aren't one class each "
            f"({_kind_of(splits.train)}); leave it out"
        )


def check_factories(student: object, optimizer: object) -> None:
    """Refuses what is made already, and by one call for all workers.

    Raises:
        UserError: a student or an optimizer, where what builds one is due.
    """
    if isinstance(student, nn.Module):
        raise UserError("student is a module, but it must be a callable that builds one; e.g. lambda: MyModel()")
    if isinstance(optimizer, torch.optim.Optimizer):
        kind = type(optimizer).__name__
        raise UserError(
            f"optimizer is {kind}(...), but it must be a callable that makes one of the student's params; e.g. "
            f"lambda params: {kind}(params, lr=1e-3)"
        )


def _read_by(splits: Splits, readers: int) -> Splits:
    if readers < 0:
        raise UserError(f"data_workers is {readers}, but it must be at least 0")
    found = {name: samples for name in _SPLITS if (samples := getattr(splits, name)) is not None}
    read = {
        name: samples.with_inputs(samples.inputs.read_by(1 if name == "meta" else readers))  # it is small
        for name, samples in found.items()
        if isinstance(samples.inputs, DatasetInputs)
    }
    if not read:
        raise UserError(
            f"data_workers is {readers}, but all inputs are arrays, which nobody has to read ahead; leave it out"
        )
    return dataclasses.replace(splits, **read)


_SPLITS = ("train", "validation", "meta", "test")


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


OPTIMIZER_SETTINGS = ("optimizer", "learning_rate", "learning_rate_head", "momentum", "nesterov", "weight_decay")
"""What an optimizer of the user's own says by itself."""


def plain_settings(config: TrainConfig, given: Collection[str]) -> dict[str, Any]:
    """The settings that mean something where data and student are given, for the run's config file.

    Args:
        given: settings in whose place the user gave something of their own.
    """
    elsewhere = set(names_of(DataConfig)) - {"augment", "clean_test", "hold_on_device"} | {
        "resume",
        "resume_or_start",
        *given,
    }
    return {name: value for name, value in config.flat().items() if name not in elsewhere}
