"""What it costs to show a run while it goes on: CPU time of --log-to and of Ray's metrics, as a share of a run's.

    python benchmarks/costs/live_logging.py                     # digits and their MLP: the shortest epochs there are
    python benchmarks/costs/live_logging.py --student cnn

One process, one thread. A run is made without any of it; its rows are then told to each tracker that is installed, and
to Ray's metrics, whose Ray is started for it: all that the process takes for that, the trackers' own threads included.
What happens once (the library's import, the run's settings) is apart from what happens each epoch.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
import warnings
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import ray
import torch
from rich.console import Console
from rich.table import Table

from ray_mentor import CurriculumTrainer, TrainConfig
from ray_mentor.data.splits.splits import prepare
from ray_mentor.on_ray.session.metrics import RunMetrics
from ray_mentor.run.directory import RunDirectory
from ray_mentor.run.trackers import tracked
from ray_mentor.training import make_trainer

LIBRARIES = {"tensorboard": "tensorboardX", "mlflow": "mlflow", "wandb": "wandb"}
CALLS = 20_000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--student", default="mlp", help="(default %(default)s)")
    parser.add_argument("--epochs", type=int, default=TrainConfig().run.epochs, help="(default %(default)s)")
    options = parser.parse_args()
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    console = Console(width=110)
    with tempfile.TemporaryDirectory() as folder:
        os.environ["MLFLOW_TRACKING_URI"] = Path(folder, "mlflow").as_uri()
        rows, seconds, trainer = run(options.student, options.epochs, folder)
        epochs = [row for row in rows if row["kind"] == "epoch"]
        steps = int(epochs[-1]["steps"])
        console.print(f"{options.student}: {len(epochs)} epochs, {steps} steps, {seconds:.2f} CPU seconds")
        found = Table("", "once, ms", "each, ms", "each epoch or step, share of a run", "and once")
        for name, library in LIBRARIES.items():
            if find_spec(library) is not None:
                once, each = of_tracker(name, epochs, folder, trainer.config)
                add(found, f"--log-to {name}, an epoch", once, each, len(epochs), seconds)
        row, scored = of_metrics(epochs[-1])
        add(found, "gauges, a row (once a second, by the board's process)", 0.0, row, round(seconds), seconds)
        add(found, "the mentor's answer, a step", 0.0, scored, steps, seconds)
        console.print(found)


def add(found: Table, name: str, once: float, each: float, times: int, seconds: float) -> None:
    shares = (f"{share:.3%}" for share in (each * times / seconds, (once + each * times) / seconds))
    found.add_row(name, f"{1e3 * once:.1f}", f"{1e3 * each:.4g}", *shares)


def run(student: str, epochs: int, folder: str) -> tuple[list[dict[str, Any]], float, CurriculumTrainer]:
    """Its rows, and the CPU seconds from its settings to its result, imports aside."""
    config = TrainConfig().changed(student=student, epochs=epochs, storage_path=folder, run_name="run", workers=0)
    rows: list[dict[str, Any]] = []
    began = time.process_time()
    trainer = make_trainer(config, prepare(config.data, config.run.seed))
    trainer.fit(rows.append)
    return rows, time.process_time() - began, trainer


def of_tracker(name: str, epochs: list[dict[str, Any]], folder: str, config: TrainConfig) -> tuple[float, float]:
    """CPU seconds of all but its epochs, the trackers' end among them; and of an epoch, the median."""
    directory = RunDirectory(str(Path(folder, name)))
    directory.create()
    took, began = [], time.process_time()
    with tracked((name,), directory, config.flat(), _not_expected) as told:
        for row in epochs:
            before = time.process_time()
            told(row)
            took.append(time.process_time() - before)
    whole = time.process_time() - began
    each = statistics.median(took[1:])
    return whole - each * len(epochs), each


def _not_expected(row: dict[str, Any]) -> None:
    if row["kind"] == "note":
        raise RuntimeError(row["text"])


def of_metrics(row: dict[str, Any]) -> tuple[float, float]:
    """CPU seconds of a row and of one answer of the mentor."""
    ray.init(address="local", num_cpus=1, configure_logging=False, log_to_driver=False, dashboard_host="127.0.0.1")
    try:
        metrics = RunMetrics("benchmark", lambda text: _not_expected({"kind": "note", "text": text}))
        took = []
        for tell in (lambda: metrics.row(row), lambda: metrics.scored(0.002)):
            tell()
            began = time.thread_time()
            for _ in range(CALLS):
                tell()
            took.append((time.thread_time() - began) / CALLS)
        return took[0], took[1]
    finally:
        ray.shutdown()


if __name__ == "__main__":
    main()
