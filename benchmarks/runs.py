"""Runs for the tables: many independent ones, side by side, one thread each, without Ray."""

from __future__ import annotations

import csv
import dataclasses
import multiprocessing
import os
import statistics
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import torch
from rich.console import Console

from ray_mentor import CurriculumConfig, TrainConfig, train

CIFAR = Path(__file__).resolve().parents[2] / "shared" / "data" / "cifar10"
"""CIFAR-10 as Parquet, beside the project; `--cifar` names another place."""

_PLAIN: dict[str, Any] = {"meta_in_training": 0.0}
CURRICULA: dict[str, dict[str, Any]] = {
    "uniform": {"method": "uniform", **_PLAIN},
    "uniform-trusted": {"method": "uniform"},
    "self-paced": {"method": "self-paced", **_PLAIN},
    "mentornet": {},
    "oracle": {"method": "oracle", **_PLAIN},
}
"""What is compared: all but `mentornet` and `uniform-trusted` see the training split alone. `uniform-trusted` trains on
the trusted samples beside, as `mentornet` does, so that what lies between them is the mentor's doing."""


def curriculum(name: str, **changes: Any) -> CurriculumConfig:
    """The curriculum of that name; what it does not name keeps its default."""
    return CurriculumConfig(**CURRICULA[name], **changes)


def results(configs: list[TrainConfig], processes: int) -> list[dict[str, Any]]:
    """``result.json`` of each run, in order, with a line a run as it ends.

    And ``cpu_seconds``: of the one thread, reading data and closing included. Of runs that lie side by side they can be
    compared where wall time can't, since whatever else the machine does slows all of them alike.
    """
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(processes, mp_context=context, initializer=_one_thread) as pool:
        return list(pool.map(_result, configs))


def spread(values: list[float]) -> str:
    """Mean ± standard deviation."""
    return f"{statistics.mean(values):.3f} ± {statistics.stdev(values) if len(values) > 1 else 0:.3f}"


def write(rows: list[dict[str, Any]], columns: tuple[str, ...], path: Path) -> None:
    """These columns of the rows, as CSV."""
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, columns, extrasaction="ignore")
        writer.writeheader()
        writer.writerows(rows)


def _one_thread() -> None:
    os.environ["OMP_NUM_THREADS"] = "1"
    torch.set_num_threads(1)


def _result(config: TrainConfig) -> dict[str, Any]:
    settings = dataclasses.replace(config.run, workers=0, storage_path=tempfile.mkdtemp(), checkpoint_seconds=1e9)
    began = time.process_time()
    outcome = train(dataclasses.replace(config, run=settings), console=Console(quiet=True))
    result: dict[str, Any] = {**outcome.result, "cpu_seconds": time.process_time() - began}
    print(
        f"{config.curriculum.method:12} {config.student.student:4} train {config.data.train_size} k "
        f"{config.mentor.update_interval} seed {config.run.seed}: {result['test_accuracy']:.4f} "
        f"auroc {result['noise_auroc']} {result['cpu_seconds']:.0f} CPU s",
        flush=True,
    )
    return result
