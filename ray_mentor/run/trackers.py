"""A run's epochs for tools that show runs: TensorBoard, MLflow, Weights & Biases.

They are told by the process that began the run, and by no other.
"""

from __future__ import annotations

import os
import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from importlib.util import find_spec
from typing import Any

import pyarrow.fs
from typing_extensions import override

from ray_mentor.errors import UserError
from ray_mentor.extras import MissingExtraError
from ray_mentor.run.directory import RunDirectory
from ray_mentor.run.progress import Row

Show = Callable[[Row], None]
Settings = Mapping[str, Any]

PROJECT = "ray_mentor"
"""MLflow's experiment, and W&B's project."""


class AbstractTracker(ABC):
    """Is told of each epoch; made when the first of them has ended."""

    @abstractmethod
    def add(self, epoch: int, figures: Mapping[str, float]) -> None:
        """Takes the figures of an epoch, which counts from 0."""

    @abstractmethod
    def close(self) -> None:
        """The run has ended, one way or another."""


class TensorBoard(AbstractTracker):
    """Event files in ``tensorboard/`` of the run's folder: ``tensorboard --logdir RUN``."""

    def __init__(self, directory: RunDirectory, settings: Settings, first: int) -> None:
        from tensorboardX import SummaryWriter  # noqa: PLC0415 - only who asks for it waits for it
        from tensorboardX.proto.summary_pb2 import Summary  # noqa: PLC0415

        self._summary, self._value = Summary, Summary.Value
        self._writer = SummaryWriter(directory.place("tensorboard")[0], purge_step=first or None)
        lines = "\n".join(f"    {name} = {value}" for name, value in settings.items())
        self._writer.add_text("config", lines, first)

    @override
    def add(self, epoch: int, figures: Mapping[str, float]) -> None:
        """As one event: one a figure takes six times as long."""
        values = [self._value(tag=name, simple_value=value) for name, value in figures.items()]
        self._writer.file_writer.add_summary(self._summary(value=values), epoch)
        self._writer.flush()

    @override
    def close(self) -> None:
        self._writer.close()


class MLflow(AbstractTracker):
    """A run of the experiment ``ray_mentor``, where MLFLOW_TRACKING_URI says, or where MLflow puts it without."""

    def __init__(self, directory: RunDirectory, settings: Settings, first: int) -> None:
        from mlflow.tracking import MlflowClient  # noqa: PLC0415

        self._client = MlflowClient()
        found = self._client.get_experiment_by_name(PROJECT)
        experiment = self._client.create_experiment(PROJECT) if found is None else found.experiment_id
        run = self._client.create_run(experiment, run_name=str(settings.get("run_name") or directory.path))
        self._run = run.info.run_id
        for name, value in settings.items():
            self._client.log_param(self._run, name, str(value)[:_MOST])

    @override
    def add(self, epoch: int, figures: Mapping[str, float]) -> None:
        for name, value in figures.items():
            self._client.log_metric(self._run, _OTHERS.sub("_", name), value, step=epoch)

    @override
    def close(self) -> None:
        self._client.set_terminated(self._run)


_MOST = 500  # characters that MLflow takes
_OTHERS = re.compile(r"[^\w/ -]")  # of a group's name, which it doesn't


class WandB(AbstractTracker):
    """A run of the project ``ray_mentor``, in the run's folder; offline unless WANDB_MODE says otherwise."""

    def __init__(self, directory: RunDirectory, settings: Settings, first: int) -> None:
        import wandb  # noqa: PLC0415

        mode: Any = os.environ.get("WANDB_MODE", "offline")
        folder, name = directory.place("")[0], settings.get("run_name")
        self._run = wandb.init(project=PROJECT, name=name, config=dict(settings), dir=folder, mode=mode)

    @override
    def add(self, epoch: int, figures: Mapping[str, float]) -> None:
        self._run.log(dict(figures), step=epoch)

    @override
    def close(self) -> None:
        self._run.finish()


Make = Callable[[RunDirectory, Settings, int], AbstractTracker]
"""From the run, its settings and the number of the first epoch that is told."""

_KINDS: Mapping[str, tuple[Make, str, str]] = {
    "tensorboard": (TensorBoard, "tensorboardX", "ray-mentor[ray]"),
    "mlflow": (MLflow, "mlflow", "ray-mentor[mlflow]"),
    "wandb": (WandB, "wandb", "ray-mentor[wandb]"),
}
_LOCAL = ("tensorboard", "wandb")


@contextmanager
def tracked(names: Sequence[str], directory: RunDirectory, settings: Settings, show: Show) -> Iterator[Show]:
    """Inside, whoever shows a run's progress rows shows them to the trackers, too; one that fails is told of, and left.

    Raises:
        UserError: one whose library is not installed, or that needs a folder of this machine.
    """
    for name in names:
        _check(name, directory)
    there: dict[str, AbstractTracker | None] = dict.fromkeys(names)
    left = list(names)

    def told(row: Row) -> None:
        show(row)
        if row["kind"] != "epoch":
            return
        figures = {key: float(value) for key, value in row.items() if key not in _NONE and value is not None}
        for name in list(left):
            try:
                tracker = there[name] or _KINDS[name][0](directory, settings, int(row["epoch"]))
                there[name] = tracker
                tracker.add(int(row["epoch"]), figures)
            except Exception as error:
                left.remove(name)
                why = f"{type(error).__name__}: {error}"
                show({"kind": "note", "text": f"warning: {name} is told no more of this run ({why})"})

    try:
        yield told
    finally:
        for tracker in there.values():
            with suppress(Exception):
                if tracker is not None:
                    tracker.close()


_NONE = ("kind", "epoch")


def _check(name: str, directory: RunDirectory) -> None:
    _, module, extra = _KINDS[name]
    if find_spec(module) is None:
        raise MissingExtraError(f"log_to {name} needs {module}, which is not installed; pip install '{extra}'")
    if name in _LOCAL and not isinstance(directory.place("")[1], pyarrow.fs.LocalFileSystem):
        raise UserError(
            f"log_to {name} writes into the run's folder, but {directory.path} is no folder of this machine; leave it "
            "out, or give a --storage-path that is one"
        )
