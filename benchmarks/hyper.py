"""What a learnt learning rate is worth: one run from whatever rate it is given, beside the best of a grid of rates.

    python benchmarks/hyper.py digits noisy-digits adamw cifar10    # runs what is missing, and prints the table

A rate counts as the grid's best (nine peaks, a factor √10 apart, cosine) by mean test accuracy on seeds 0 to 2. From a
hundredth to a hundred times of it, given and learnt rates are reported on seeds 100 to 102; regret is the accuracy of
the grid's best less that of the run, paired by seed. The settings of what learns were chosen on digits, with and
without noise, seeds 0 and 1, and are the same everywhere. digits: clean, plain training; noisy-digits: 40 % symmetric,
a mentor; adamw: digits by AdamW; cifar10: 2,000 clean images, `cnn`, 12 epochs, plain training. Rows are appended to
docs/tables/hyper.csv as they come, and what is there is not run again.
"""

from __future__ import annotations

import argparse
import dataclasses
import statistics
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from protocol.judged import hits_of
from protocol.pages import TABLES
from protocol.people import CIFAR
from protocol.rows import Cell, Row, Rows, number
from protocol.running import trained

from ray_mentor import TrainConfig
from ray_mentor.data.splits.splits import prepare
from ray_mentor.errors import NonFiniteLossError

KEY = ("task", "way", "peak", "seed")
FIGURES = ("test_accuracy", "factor", "times_put_back", "cpu_seconds")
SELECTION, FINAL = range(3), range(100, 103)
GRID = tuple(10 ** (k / 2) for k in range(-4, 5))
STARTS = (0.01, 0.1, 1.0, 10.0, 100.0)
LOST = 2 / 3
"""Of the grid's best accuracy: a run that has less is lost."""

WAYS: dict[str, dict[str, Any]] = {"given": {}, "learnt": {"learn": ("lr",)}}

_PLAIN = {"method": "uniform", "mixing": "none", "noise": "none"}
TASKS: dict[str, tuple[float, dict[str, Any]]] = {
    "digits": (0.08, _PLAIN),
    "noisy-digits": (0.08, {"noise": "symmetric:0.4"}),
    "adamw": (0.003, {**_PLAIN, "optimizer": "adamw"}),
    "cifar10": (
        0.1,
        {**_PLAIN, "train_size": 2_000, "student": "cnn", "epochs": 12, "nesterov": False, "precision": "bf16"},
    ),
}
"""The middle of the grid, and settings over the defaults."""


def base_of(task: str, cifar: Path) -> TrainConfig:
    """Settings of every run of a task, but for rate, seed and way."""
    data = {"data": str(cifar)} if task == "cifar10" else {}
    return TrainConfig().changed(**data, **TASKS[task][1])


@dataclass(frozen=True)
class RunCell:
    """Runs a cell; picklable."""

    cifar: Path

    def __call__(self, cell: Cell) -> dict[str, Any]:
        base = base_of(cell["task"], self.cifar)
        config = base.changed(learning_rate=cell["peak"], seed=cell["seed"], **WAYS[cell["way"]])
        splits = prepare(config.data, config.run.seed)
        assert splits.test is not None
        began = time.process_time()
        try:
            with tempfile.TemporaryDirectory() as folder:
                outcome = trained(config, dataclasses.replace(splits, test=None), folder)
                accuracy = float(hits_of(config, outcome, splits.test).mean())
        except NonFiniteLossError:
            return {"test_accuracy": 0.0, "cpu_seconds": time.process_time() - began}
        found = outcome.result.get("learned", {}).get("lr", {})
        figures = {name: found.get(name) for name in ("factor", "times_put_back")}
        return {"test_accuracy": accuracy, **figures, "cpu_seconds": time.process_time() - began}


def cells(task: str, way: str, peaks: Sequence[float], seeds: Sequence[int]) -> list[Cell]:
    """Of each peak and seed."""
    named = ({"task": task, "way": way, "peak": float(f"{peak:.4g}")} for peak in peaks)
    return [{**cell, "seed": seed} for cell in named for seed in seeds]


def accuracies(rows: Sequence[Row], task: str, way: str, peak: float, seeds: Sequence[int]) -> list[float]:
    """By seed."""
    of = {
        int(row["seed"]): number(row, "test_accuracy")
        for row in rows
        if (row["task"], row["way"], float(row["peak"])) == (task, way, float(f"{peak:.4g}"))
    }
    return [of[seed] for seed in seeds]


def best_of(rows: Sequence[Row], task: str) -> float:
    """The grid's best peak, by mean accuracy on the seeds of selection."""
    middle = TASKS[task][0]
    return max(
        (middle * step for step in GRID),
        key=lambda peak: statistics.fmean(accuracies(rows, task, "given", peak, SELECTION)),
    )


def table(rows: Sequence[Row], tasks: Sequence[str]) -> str:
    """A line a task and way: mean regret in points at each start, over all of them, runs lost, and CPU seconds."""
    head = ["task (grid's best)", "rate", *(f"{start:g}×" for start in STARTS), "mean", "lost", "CPU s"]
    lines = [head, ["---"] * len(head)]
    for task in tasks:
        peak = best_of(rows, task)
        best = accuracies(rows, task, "given", peak, FINAL)
        for way in WAYS:
            found = [accuracies(rows, task, way, peak * start, FINAL) for start in STARTS]
            regrets = [[100 * (one - other) for one, other in zip(best, each, strict=True)] for each in found]
            flat = [regret for each in regrets for regret in each]
            lost = sum(other < LOST * one for each in found for one, other in zip(best, each, strict=True))
            of = [row for row in rows if (row["task"], row["way"]) == (task, way) and int(row["seed"]) in FINAL]
            seconds = statistics.fmean(number(row, "cpu_seconds") for row in of)
            name = f"{task} ({statistics.fmean(best):.3f} at {peak:.3g})"
            lines.append(
                [name, way, *(f"{statistics.fmean(each):+.1f}" for each in regrets), f"{statistics.fmean(flat):+.1f}",
                 f"{lost} of {len(flat)}", f"{seconds:.1f}"]
            )  # fmt: skip
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("tasks", nargs="+", choices=tuple(TASKS))
    parser.add_argument("--cifar", type=Path, default=CIFAR, help="CIFAR-10 as Parquet")
    parser.add_argument("--processes", type=int, default=1, help="runs at a time, one thread each (default 1)")
    parser.add_argument("--rows", type=Path, default=TABLES / "hyper.csv", help="(default docs/tables/hyper.csv)")
    options = parser.parse_args()
    rows, run = Rows(options.rows, KEY, FIGURES), RunCell(options.cifar)
    for task in options.tasks:
        rows.fill(cells(task, "given", [TASKS[task][0] * step for step in GRID], SELECTION), run, options.processes)
        starts = [best_of(rows.read(), task) * start for start in STARTS]
        for way in WAYS:
            rows.fill(cells(task, way, starts, FINAL), run, options.processes)
    print(table(rows.read(), options.tasks))


if __name__ == "__main__":
    main()
