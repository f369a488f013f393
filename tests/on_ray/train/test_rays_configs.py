"""What Ray's own configs say: it is done, or refused in words."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow.fs
import pytest
import ray.train
from ray.train.v2.api.callback import RayTrainCallback
from small_runs import EPOCHS, assert_one_row_per_sample_and_epoch, assert_same_run, trainer_for

from ray_mentor.config import TrainConfig
from ray_mentor.data import Splits
from ray_mentor.errors import UserError
from ray_mentor.run.directory import RunDirectory
from ray_mentor.sweep import tune_curriculum


def in_a_bucket(bucket: Path, **more: Any) -> ray.train.RunConfig:
    """A run's place as Ray is told of MinIO, Azure, HDFS: a file system, and a path in it."""
    bucket.mkdir(exist_ok=True)
    files = pyarrow.fs.SubTreeFileSystem(str(bucket), pyarrow.fs.LocalFileSystem())
    return ray.train.RunConfig(name="n", storage_path="prefix/runs", storage_filesystem=files, **more)


def test_a_run_on_a_file_system_of_the_users_own(
    small_splits: Splits, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The run lies there and nowhere else, and goes on there."""
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    whole = trainer_for(small_splits, tmp_path, "whole").fit()
    first = trainer_for(small_splits, tmp_path, "n", run_config=in_a_bucket(tmp_path / "bucket"), epochs=1)
    assert first.directory.path == "prefix/runs/n"
    first.fit()
    again = trainer_for(
        small_splits, tmp_path, "n", run_config=in_a_bucket(tmp_path / "bucket"), resume=True, epochs=EPOCHS
    )
    outcome = again.fit()
    assert_one_row_per_sample_and_epoch(outcome.ledger(), small_splits)
    assert outcome.result["steps"] == whole.result["steps"]
    assert (tmp_path / "bucket/prefix/runs/n/result.json").exists()
    assert list((tmp_path / "here").iterdir()) == []


@pytest.mark.parametrize(
    ("storage", "path", "root"),
    [
        ("s3://bucket/runs?region=eu-west-1", "s3://bucket/runs/n?region=eu-west-1", "bucket/runs/n"),
        ("s3://bucket/runs/?region=eu-west-1", "s3://bucket/runs/n?region=eu-west-1", "bucket/runs/n"),
        ("mock:///runs", "mock:///runs/n", "runs/n"),
        ("/a folder?/runs", "/a folder?/runs/n", "/a folder?/runs/n"),
    ],
)
def test_the_name_of_a_run_goes_before_a_query(storage: str, path: str, root: str) -> None:
    directory = RunDirectory.within(storage, "n")
    assert (directory.path, directory._root) == (path, root)


def test_two_runs_of_one_uri_with_a_query_are_two(small_splits: Splits, tmp_path: Path) -> None:
    place = f"file://{tmp_path}?any=thing"
    made = [trainer_for(small_splits, tmp_path, name, run_config=ray.train.RunConfig(name=name, storage_path=place),
                        epochs=1).fit() for name in ("one", "two")]  # fmt: skip
    assert_same_run(*(type(outcome)(outcome.result, outcome.metrics, str(tmp_path / name), outcome.student_state)
                      for outcome, name in zip(made, ("one", "two"), strict=True)))  # fmt: skip


REFUSED = [
    (
        {"checkpoint_config": ray.train.CheckpointConfig(checkpoint_score_attribute="test_accuracy")},
        2,
        "checkpoint_config has checkpoint_score_attribute 'test_accuracy', but a run keeps its newest checkpoints, "
        "which it goes on from; leave it out (held-out trusted samples say which epoch's student is kept)",
    ),
    (
        {"failure_config": ray.train.FailureConfig(relax_collectives_on_preemption=True)},
        2,
        "failure_config has relax_collectives_on_preemption, but a step needs all workers; leave it out",
    ),
    (
        {"failure_config": ray.train.FailureConfig(max_failures=2)},
        0,
        "failure_config is given, but num_workers is 0: what fails in this process nobody starts again; leave it out, "
        "or give 1 worker or more",
    ),
    (
        {"callbacks": [RayTrainCallback()]},
        0,
        "callbacks has a RayTrainCallback, but num_workers is 0, where Ray has nothing that it could call; give a "
        "ray.train.UserCallback, or 1 worker or more",
    ),
    (
        {"worker_runtime_env": {"env_vars": {"A": "1"}}},
        0,
        "worker_runtime_env is given, but num_workers is 0: there is no process to make; leave it out, or give 1 "
        "worker or more",
    ),
    (
        {"logging_config": ray.train.LoggingConfig(log_level="ERROR")},
        0,
        "logging_config is given, but num_workers is 0: Ray Train logs nothing then; leave it out, or give 1 worker or "
        "more",
    ),
]


@pytest.mark.parametrize(("given", "workers", "says"), REFUSED)
def test_what_is_not_honoured_is_refused(
    given: dict[str, Any], workers: int, says: str, small_splits: Splits, tmp_path: Path
) -> None:
    config = ray.train.RunConfig(name="n", storage_path=str(tmp_path), **given)
    with pytest.raises(UserError) as raised:
        trainer_for(small_splits, tmp_path, "n", workers=workers, run_config=config)
    assert str(raised.value) == says


def test_a_sweep_takes_no_query() -> None:
    config = TrainConfig().changed(storage_path="s3://bucket/runs?region=eu-west-1", workers=0)
    with pytest.raises(UserError) as raised:
        tune_curriculum("smoke", config)
    assert str(raised.value) == (
        "storage_path is 's3://bucket/runs?region=eu-west-1', but a sweep makes folders below it, and takes no URI "
        "with a query; give one without, or a folder"
    )


def test_a_tpu_is_refused(small_splits: Splits, tmp_path: Path) -> None:
    scaling = ray.train.ScalingConfig(num_workers=1, use_tpu=True, resources_per_worker={"TPU": 1})
    with pytest.raises(UserError) as raised:
        trainer_for(small_splits, tmp_path, "n", scaling_config=scaling)
    assert str(raised.value) == "scaling_config has use_tpu, but students train on CPUs and GPUs; leave it out"
