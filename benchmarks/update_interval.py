"""How often must the mentor learn? Test accuracy and time against the update interval.

    python benchmarks/update_interval.py --seeds 3

Digits with the defaults of `ray-mentor train`, and 2,000 CIFAR-10 images (40 % symmetric noise, 500 trusted, `cnn`,
40 epochs). The runs of a seed lie side by side, so that their times can be compared. Writes docs/update_interval.csv,
a row a run, and docs/update_interval.png.
"""

from __future__ import annotations

import argparse
import dataclasses
import statistics
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure
from regimes import config as regime_config
from rich.console import Console
from rich.table import Table
from runs import CIFAR, results, spread, write

from ray_mentor import TrainConfig

INTERVALS = (1, 2, 5, 10, 20, 50)
DATA = ("digits", "cifar10")
UNIFORM = 0  # stands for plain training among the intervals
COLUMNS = ("data", "interval", "seed", "test_accuracy", "noise_auroc", "cpu_seconds")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=3, help="runs per point, seeds 0..n-1 (default 3)")
    parser.add_argument("--data", nargs="+", choices=DATA, default=DATA)
    parser.add_argument(
        "--processes", type=int, default=7, help="runs at a time, one thread each (default 7: a seed's)"
    )
    parser.add_argument("--cifar", type=Path, default=CIFAR, help="CIFAR-10 as Parquet")
    parser.add_argument("--out", type=Path, default=Path("docs/update_interval"), help="of .csv and .png")
    options = parser.parse_args()
    cells = [
        (data, interval, seed)
        for data in options.data
        for seed in range(options.seeds)
        for interval in (UNIFORM, *INTERVALS)
    ]
    found = results([config(*cell, options.cifar) for cell in cells], options.processes)
    rows = [
        {**result, "data": data, "interval": interval, "seed": seed}
        for (data, interval, seed), result in zip(cells, found, strict=True)
    ]
    write(rows, COLUMNS, options.out.with_suffix(".csv"))
    picture(rows, options.data, options.out.with_suffix(".png"))
    Console(width=100).print(table(rows, options.data))


def config(data: str, interval: int, seed: int, cifar: Path) -> TrainConfig:
    """One run: plain training where the interval is 0."""
    base = regime_config("digits" if data == "digits" else "A", "mentornet" if interval else "uniform", seed, cifar)
    if data != "digits":
        base = dataclasses.replace(base, data=dataclasses.replace(base.data, train_size=2_000))
    return dataclasses.replace(base, mentor=dataclasses.replace(base.mentor, update_interval=interval or 1))


def of(rows: list[dict[str, Any]], data: str, interval: int, column: str) -> list[float]:
    """One column of the runs at one point."""
    return [row[column] for row in rows if (row["data"], row["interval"]) == (data, interval)]


def table(rows: list[dict[str, Any]], names: tuple[str, ...]) -> Table:
    found = Table("data", "update interval", "test accuracy", "noise AUROC", "time / plain training")
    for data in names:
        plain = statistics.mean(of(rows, data, UNIFORM, "cpu_seconds"))
        for interval in (UNIFORM, *INTERVALS):
            found.add_row(
                data,
                str(interval or "plain training"),
                spread(of(rows, data, interval, "test_accuracy")),
                spread([value or 0.0 for value in of(rows, data, interval, "noise_auroc")]),
                f"{statistics.mean(of(rows, data, interval, 'cpu_seconds')) / plain:.2f}",
                end_section=interval == INTERVALS[-1],
            )
    return found


def picture(rows: list[dict[str, Any]], names: tuple[str, ...], path: Path) -> None:
    """Accuracy and relative time over the interval, one panel a data set."""
    figure = Figure(figsize=(4.6 * len(names), 3.4), layout="constrained")
    panels = figure.subplots(1, len(names), squeeze=False)[0]
    for panel, data in zip(panels, names, strict=True):
        accuracy = [of(rows, data, interval, "test_accuracy") for interval in INTERVALS]
        seconds = [statistics.mean(of(rows, data, interval, "cpu_seconds")) for interval in INTERVALS]
        plain = statistics.mean(of(rows, data, UNIFORM, "cpu_seconds"))
        means = [statistics.mean(values) for values in accuracy]
        panel.plot(INTERVALS, means, marker="o", color="#1a7f5a", label="mentor")
        panel.fill_between(
            INTERVALS, *zip(*((min(v), max(v)) for v in accuracy), strict=True), alpha=0.15, color="#1a7f5a"
        )
        panel.axhline(
            statistics.mean(of(rows, data, UNIFORM, "test_accuracy")), color="#64748b", ls="--", label="plain training"
        )
        panel.set(xscale="log", xlabel="update interval (steps)", ylabel="test accuracy", title=data)
        panel.set_xticks(INTERVALS, [str(k) for k in INTERVALS])
        panel.minorticks_off()
        time = panel.twinx()
        time.plot(INTERVALS, [s / plain for s in seconds], marker=".", color="#c2410c", ls=":", label="time")
        time.set_ylabel("time / plain training", color="#c2410c")
        time.set_ylim(bottom=1)
        panel.legend(frameon=False, loc="lower left")
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=130)


if __name__ == "__main__":
    main()
