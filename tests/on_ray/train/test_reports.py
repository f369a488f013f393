"""What Ray and the user's callbacks are told of a run in this process; of two workers, see test_two_workers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow.fs
import pytest
import ray.train
import torch
from listening import WritesDown
from small_runs import EPOCHS, assert_same_bits, trainer_for

from ray_mentor.data import Splits
from ray_mentor.on_ray.train.trainer import CurriculumTrainer


def told(splits: Splits, folder: Path, **changes: Any) -> tuple[CurriculumTrainer, WritesDown]:
    callback = WritesDown(folder / "said")
    config = ray.train.RunConfig(name="n", storage_path=str(folder), callbacks=[callback], **changes.pop("config", {}))
    return trainer_for(splits, folder, "n", run_config=config, **changes), callback


def test_a_callback_is_told_of_each_epoch_and_of_the_student(small_splits: Splits, tmp_path: Path) -> None:
    trainer, callback = told(small_splits, tmp_path)
    outcome = trainer.fit()
    said = callback.said()
    assert [line["run"] for line in said] == ["n"] * EPOCHS
    assert [line["metrics"] for line in said] == [[row] for row in outcome.metrics]
    assert [line["path"] for line in said] == [None] * (EPOCHS - 1) + [f"{tmp_path}/n/student"]


def test_rays_result_has_the_last_metrics_and_the_student(small_splits: Splits, tmp_path: Path) -> None:
    trainer, _ = told(small_splits, tmp_path)
    assert trainer.ray_result is None
    outcome = trainer.fit()
    result = trainer.ray_result
    assert result is not None
    assert result.metrics == outcome.metrics[-1]
    assert result.checkpoint is not None
    with result.checkpoint.as_directory() as folder:
        state = torch.load(f"{folder}/state_dict.pt", weights_only=True)
    assert_same_bits(state, outcome.student_state)


def test_the_student_on_a_file_system_of_the_users_own(small_splits: Splits, tmp_path: Path) -> None:
    files = pyarrow.fs.SubTreeFileSystem(str(tmp_path), pyarrow.fs.LocalFileSystem())
    config = ray.train.RunConfig(name="n", storage_path="runs", storage_filesystem=files)
    trainer = trainer_for(small_splits, tmp_path, "n", run_config=config, epochs=1)
    outcome = trainer.fit()
    assert trainer.ray_result is not None
    assert trainer.ray_result.checkpoint is not None
    assert trainer.ray_result.checkpoint.path == "runs/n/student"
    with trainer.ray_result.checkpoint.as_directory() as folder:
        assert_same_bits(torch.load(f"{folder}/state_dict.pt", weights_only=True), outcome.student_state)


def test_a_callback_is_told_of_an_error(small_splits: Splits, tmp_path: Path) -> None:
    def broken(params: Any) -> torch.optim.Optimizer:
        optimizer = torch.optim.SGD(params, lr=0.1)
        optimizer.register_step_pre_hook(lambda *_: (_ for _ in ()).throw(RuntimeError("no luck")))
        return optimizer

    trainer, callback = told(small_splits, tmp_path, optimizer=broken)
    with pytest.raises(RuntimeError, match="no luck"):
        trainer.fit()
    assert callback.said() == [{"run": "n", "errors": {"0": "no luck"}}]
    assert trainer.ray_result is None


def test_what_was_reported_is_not_what_a_run_goes_on_from(small_splits: Splits, tmp_path: Path) -> None:
    """A finished run that shall have more epochs reports those alone, and has a new student."""
    told(small_splits, tmp_path, epochs=2)[0].fit()
    trainer, callback = told(small_splits, tmp_path, epochs=3, resume=True)
    outcome = trainer.fit()
    assert [line["metrics"][0]["epoch"] for line in callback.said()] == [0, 1, 2]
    state = torch.load(tmp_path / "n/student/state_dict.pt", weights_only=True)
    assert_same_bits(state, outcome.student_state)
