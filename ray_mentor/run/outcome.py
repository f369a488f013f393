"""What a finished run has to say."""

from __future__ import annotations

import platform
import time
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import pyarrow as pa
from torch import Tensor

from ray_mentor.config import TrainConfig
from ray_mentor.core.state.curriculum import CurriculumState
from ray_mentor.run.checkpoint.state import RunState
from ray_mentor.run.directory import RunDirectory
from ray_mentor.run.findings.names import with_ids
from ray_mentor.run.findings.suspects import suspects
from ray_mentor.run.ledger.files import read_ledger
from ray_mentor.run.marks import Marks

VERSIONED = ("ray-mentor", "ray", "torch", "torchvision", "numpy", "pyarrow")


@dataclass(frozen=True)
class Outcome:
    """A finished run.

    Attributes:
        result: what ``result.json`` holds.
        metrics: one row an epoch.
        path: the run directory.
        student_state: the student's params and buffers at the end, for ``load_state_dict``.
        files: the file system that ``path`` is a folder of, where one was given.
    """

    result: dict[str, Any]
    metrics: list[dict[str, float | None]]
    path: str
    student_state: dict[str, Tensor]
    files: Any = None

    def ledger(self) -> pa.Table:
        """All rows of the ledger; ``sample_id`` is the user's, by dictionary where those are strings."""
        directory = RunDirectory(self.path, self.files)
        return with_ids(read_ledger(directory), directory)

    def suspects(self, most: int | None = None) -> pa.Table:
        """The samples whose given labels are most likely wrong, the most suspicious first."""
        return suspects(RunDirectory(self.path, self.files), most)


def result_of(
    config: TrainConfig, n_samples: int, state: RunState, marks: Marks, noise_auroc: float | None
) -> dict[str, Any]:
    """What ``result.json`` holds.

    Args:
        n_samples: of the training split.
        state: at the end.
    """
    return {
        "test_accuracy": last_value(state.log.metrics, "test_accuracy"),
        "test_accuracy_selected": selected(state.log.metrics),
        "noise_auroc": noise_auroc,
        "train_seconds": state.log.train_seconds,
        "wall_seconds": time.time() - marks.began,
        "phase_seconds": marks.phases(),
        "steps": state.curriculum.step,
        "meta_updates": state.curriculum.meta_updates,
        "guards": guard_figures(state.curriculum, state.log.metrics),
        "samples_per_second": n_samples * config.run.epochs / state.log.train_seconds,
        "method": config.curriculum.method,
        "seed": config.run.seed,
        "workers": config.run.workers,
        "versions": versions(),
    }


def last_value(metrics: list[dict[str, float | None]], name: str) -> float | None:
    """What the last epoch's row says; None where a checkpoint that someone made by hand says nothing."""
    return metrics[-1].get(name) if metrics else None


def selected(metrics: list[dict[str, float | None]]) -> float | None:
    """Test accuracy at the epoch with the best (noisy) validation accuracy; the first of equals."""
    rows = [row for row in metrics if row.get("validation_accuracy") is not None]
    return max(rows, key=lambda row: row["validation_accuracy"] or 0.0).get("test_accuracy") if rows else None


def guard_figures(state: CurriculumState, metrics: list[dict[str, float | None]]) -> dict[str, float | None] | None:
    """How often a mentor had to be overruled, and what it makes of trusted samples at the end; None without a mentor.

    ``inconsistent_updates`` are among those skipped. ``meta_loss`` is that of the last epoch with an update,
    ``meta_holdout_loss`` that of the last epoch.
    """
    if state.mentor is None:
        return None
    meta_losses = [loss for row in metrics if (loss := row.get("meta_loss")) is not None]
    return {
        "fallbacks": state.guards.fallbacks,
        "skipped_updates": state.mentor.skipped,
        "inconsistent_updates": state.guards.inconsistent,
        "updates_without_influence": state.guards.without_influence,
        "mentor_stopped_at": state.guards.stopped_at,
        "meta_loss": meta_losses[-1] if meta_losses else None,
        "meta_holdout_loss": last_value(metrics, "meta_holdout_loss"),
    }


def versions() -> dict[str, str]:
    """Of what a result depends on."""
    return {"python": platform.python_version(), **{name: _version(name) for name in VERSIONED}}


def _version(name: str) -> str:
    """As installed; a source tree on the path, such as a submitted job's, has no version."""
    try:
        return version(name)
    except PackageNotFoundError:
        return "not installed"
