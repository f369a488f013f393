"""How often must the mentor learn? Test accuracy and time against the update interval.

    python benchmarks/update_interval.py --seeds 3

Digits with the defaults of `ray-mentor train`, and 2,000 CIFAR-10 images (40 % symmetric noise, 500 trusted, `cnn`,
40 epochs). The runs of a seed lie side by side, so that their times can be compared. Appends to
docs/update_interval.csv, a row a run (what is there is not run again), and writes docs/update_interval.png.
"""

from __future__ import annotations

import argparse
import functools
import statistics
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure
from protocol.methods import METHODS
from protocol.people import CIFAR
from protocol.regimes import regimes
from protocol.rows import Cell, Row, Rows, number
from protocol.running import run_method
from rich.console import Console
from rich.table import Table

INTERVALS = (1, 2, 5, 10, 20, 50)
DATA = ("digits", "cifar10")
UNIFORM = 0  # stands for plain training among the intervals
KEY = ("data", "interval", "seed")
FIGURES = ("test_accuracy", "noise_auroc", "cpu_seconds")


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
    cells: list[Cell] = [
        {"data": data, "interval": interval, "seed": seed}
        for data in options.data
        for seed in range(options.seeds)
        for interval in (UNIFORM, *INTERVALS)
    ]
    kept = Rows(options.out.with_suffix(".csv"), KEY, FIGURES)
    kept.fill(cells, functools.partial(run, cifar=options.cifar), options.processes)
    rows = kept.read()
    picture(rows, options.data, options.out.with_suffix(".png"))
    Console(width=100).print(table(rows, options.data))


def run(cell: Cell, cifar: Path) -> dict[str, Any]:
    """One run: plain training where the interval is 0. CIFAR-10's is measured on the test images of selection."""
    regime = regimes(cifar)["digits" if cell["data"] == "digits" else "A"]
    name = "mentornet" if cell["interval"] else "uniform"
    config = METHODS[name].config(regime.base, seed=cell["seed"], update_interval=cell["interval"] or 1)
    if cell["data"] != "digits":
        config = config.changed(train_size=2_000)
    found = run_method(name, config, regime.selection_test)
    return {column: found[column] for column in FIGURES}


def of(rows: list[Row], data: str, interval: int, column: str) -> list[float]:
    """One column of the runs at one point; an AUROC that there is none of is 0."""
    return [
        number(row, column) if row[column] else 0.0
        for row in rows
        if (row["data"], row["interval"]) == (data, str(interval))
    ]


def spread(values: list[float]) -> str:
    """Mean ± standard deviation."""
    return f"{statistics.mean(values):.3f} ± {statistics.stdev(values) if len(values) > 1 else 0:.3f}"


def table(rows: list[Row], names: tuple[str, ...]) -> Table:
    found = Table("data", "update interval", "test accuracy", "noise AUROC", "time / plain training")
    for data in names:
        plain = statistics.mean(of(rows, data, UNIFORM, "cpu_seconds"))
        for interval in (UNIFORM, *INTERVALS):
            found.add_row(
                data,
                str(interval or "plain training"),
                spread(of(rows, data, interval, "test_accuracy")),
                spread(of(rows, data, interval, "noise_auroc")),
                f"{statistics.mean(of(rows, data, interval, 'cpu_seconds')) / plain:.2f}",
                end_section=interval == INTERVALS[-1],
            )
    return found


def picture(rows: list[Row], names: tuple[str, ...], path: Path) -> None:
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
