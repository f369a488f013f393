"""What Ray is told of a run: each epoch's metrics, and the student that it keeps."""

from __future__ import annotations

import dataclasses
import io
import time
from collections.abc import Mapping, Sequence
from typing import Any

import ray.train
import torch
from torch import Tensor

from ray_mentor.core.exchange import AbstractExchange
from ray_mentor.on_ray.train.pulse import Pulse
from ray_mentor.run.directory import RunDirectory
from ray_mentor.run.job import Job

STUDENT = "student"
"""The folder of a run's trained student; what Ray is given as a checkpoint."""

STATE = f"{STUDENT}/state_dict.pt"
"""Its params and buffers, for ``torch.load(..., weights_only=True)`` and ``load_state_dict``."""


EVERY = 0.5
"""Seconds between two reports of a run on Ray: one takes 5 ms, and as long as Ray's controller needs to fetch the one
before, up to 0.2 s. Of epochs that are shorter not all are reported."""


class Reports:
    """Reports to Ray, so that callbacks, its Result, its dashboard and Tune see a run. Every rank does it together.

    The run goes on from checkpoints of its own, and never from what was reported.
    """

    def __init__(self, job: Job, directory: RunDirectory, exchange: AbstractExchange, pulse: Pulse) -> None:
        self._directory = directory
        self._here: CallbacksHere | None = job.callbacks
        self._exchange = exchange
        self._pulse = pulse
        self._reported = -EVERY

    def __call__(self, row: Mapping[str, Any], student: Mapping[str, Tensor] | None) -> None:
        """Reports an epoch.

        Args:
            row: its metrics, the same on every rank.
            student: if it is the last one, what the run keeps of its student (on rank 0).
        """
        if student is None and self._here is None and not self._is_time():
            return
        checkpoint = None if student is None or self._exchange.rank else self._written(student)
        if self._here is not None:
            self._here.after_report(dict(row), checkpoint)
            return
        with self._pulse.away():
            ray.train.report(
                dict(row), checkpoint=checkpoint, checkpoint_upload_mode=ray.train.CheckpointUploadMode.NO_UPLOAD
            )
        self._reported = time.monotonic()

    def _is_time(self) -> bool:
        """On rank 0's watch."""
        is_time = self._exchange.rank == 0 and time.monotonic() - self._reported >= EVERY
        return self._exchange.total(float(is_time)) > 0

    def _written(self, student: Mapping[str, Tensor]) -> ray.train.Checkpoint:
        """The student in the run's directory, where Ray takes it as it lies."""
        buffer = io.BytesIO()
        torch.save({name: value.cpu() for name, value in student.items()}, buffer)
        self._directory.create((STUDENT,))
        self._directory.write(STATE, buffer.getvalue())
        if self._here is not None:
            return ray.train.Checkpoint(*self._directory.place(STUDENT))
        storage = ray.train.get_context().get_storage()  # Ray compares file systems, and some of a user's own can't be
        return ray.train.Checkpoint(f"{storage.experiment_fs_path}/{STUDENT}", storage.storage_filesystem)


class CallbacksHere:
    """A RunConfig's callbacks where Ray has no controller to call them: the run is in this process.

    ``ray.train.report`` would do nothing there but note what was reported, and refuse to inside of Tune.
    """

    def __init__(self, callbacks: Sequence[Any]) -> None:
        self._callbacks = callbacks
        self._context: Any = None
        self._metrics: dict[str, Any] | None = None
        self._checkpoint: ray.train.Checkpoint | None = None

    def fit(self, trainer: Any) -> ray.train.Result:
        """Runs a trainer of Ray's that reports here; they are told of the error that it ends with."""
        self._context = trainer.train_run_context
        try:
            result: ray.train.Result = trainer.fit()
        except Exception as error:
            for callback in self._callbacks:
                callback.after_exception(self._context, {0: error})
            raise
        return dataclasses.replace(result, metrics=self._metrics, checkpoint=self._checkpoint)

    def after_report(self, metrics: dict[str, Any], checkpoint: ray.train.Checkpoint | None) -> None:
        """Tells them of an epoch."""
        self._metrics, self._checkpoint = metrics, checkpoint
        for callback in self._callbacks:
            callback.after_report(self._context, [metrics], checkpoint)
