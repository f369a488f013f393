"""Does it work? Uniform, self-paced, mentor and oracle on three kinds of wrong labels, one set of defaults.

    python benchmarks/regimes.py --seeds 3 --processes 2

A, memorising: 4,000 CIFAR-10 images, 500 trusted, 40 epochs, no augmentation. B, mild: 10,000 images, 1,000 trusted,
25 epochs, flip and shift. Both: 40 % symmetric noise, `cnn`, SGD 0.1, momentum 0.9, weight decay 5e-4, cosine, batch
128, tested on 4,000 held-out images. Digits: the defaults of `ray-mentor train`. The gap closed is
(method − uniform) / (oracle − uniform) of the mean test accuracies at the last epoch.
"""

from __future__ import annotations

import argparse
import statistics
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from runs import CIFAR, CURRICULA, curriculum, results, spread, write

from ray_mentor import DataConfig, RunSettings, StudentConfig, TrainConfig
from ray_mentor.config import MIXINGS

COLUMNS = ("regime", "method", "seed", "test_accuracy", "noise_auroc", "cpu_seconds")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=3, help="runs per cell, seeds 0..n-1 (default 3)")
    parser.add_argument("--regimes", nargs="+", choices=("A", "B", "digits"), default=["A", "B", "digits"])
    parser.add_argument("--methods", nargs="+", choices=CURRICULA, default=[*CURRICULA])
    parser.add_argument("--mixing", choices=MIXINGS, help="of batches (default: the method's own)")
    parser.add_argument("--processes", type=int, default=2, help="runs at a time, one thread each (default 2)")
    parser.add_argument("--cifar", type=Path, default=CIFAR, help="CIFAR-10 as Parquet")
    parser.add_argument("--csv", type=Path, help="also write a row a run here")
    options = parser.parse_args()
    cells = [
        (regime, method, seed)
        for seed in range(options.seeds)
        for regime in options.regimes
        for method in options.methods
    ]
    found = results([config(*cell, options.cifar, options.mixing) for cell in cells], options.processes)
    rows = [
        {**result, "regime": regime, "method": method, "seed": seed}
        for (regime, method, seed), result in zip(cells, found, strict=True)
    ]
    if options.csv:
        write(rows, COLUMNS, options.csv)
    Console(width=120).print(table(rows, options.regimes, options.methods))


def config(regime: str, method: str, seed: int, cifar: Path, mixing: str | None = None) -> TrainConfig:
    """One run; whatever is not named here keeps its default."""
    weighing = curriculum(method, mixing=mixing)
    if regime == "digits":
        return TrainConfig(curriculum=weighing, run=RunSettings(seed=seed))
    mild = regime == "B"
    data = DataConfig(
        data=str(cifar),
        noise="symmetric:0.4",
        train_size=10_000 if mild else 4_000,
        meta_size=1_000 if mild else 500,
        test_size=4_000,
        validation_share=0.02,
        augment="flip-shift" if mild else "none",
    )
    student = StudentConfig(student="cnn", learning_rate=0.1, nesterov=False)
    run = RunSettings(epochs=25 if mild else 40, batch_size=128, seed=seed)
    return TrainConfig(data=data, student=student, curriculum=weighing, run=run)


def table(rows: list[dict[str, Any]], regimes: list[str], methods: list[str]) -> Table:
    """A row per regime and method."""
    found = Table("regime", "method", "test accuracy", "gap closed", "noise AUROC", "CPU s", "times uniform")
    for regime in regimes:
        of = {method: [row for row in rows if (row["regime"], row["method"]) == (regime, method)] for method in methods}
        for method in methods:
            found.add_row(regime, method, *figures(of, method), end_section=method == methods[-1])
    return found


def figures(of: dict[str, list[dict[str, Any]]], method: str) -> list[str]:
    """The figures of one method, beside those of uniform and oracle."""
    accuracy, seconds = mean(of, "test_accuracy"), mean(of, "cpu_seconds")
    known = "uniform" in accuracy and "oracle" in accuracy
    gap = (accuracy[method] - accuracy["uniform"]) / (accuracy["oracle"] - accuracy["uniform"]) if known else None
    return [
        spread([row["test_accuracy"] for row in of[method]]),
        "" if gap is None else f"{gap:.0%}",
        f"{mean(of, 'noise_auroc')[method]:.3f}",
        f"{seconds[method]:.0f}",
        f"{seconds[method] / seconds['uniform']:.2f}" if known else "",
    ]


def mean(of: dict[str, list[dict[str, Any]]], column: str) -> dict[str, float]:
    """The mean of a column, by method."""
    return {method: statistics.mean(row[column] or 0.0 for row in rows) for method, rows in of.items() if rows}


if __name__ == "__main__":
    main()
