"""Rare classes, and rare classes with wrong labels: every method with the same means, at its own best learning rate.

    python benchmarks/imbalance.py digits               # three rates a method, on the seeds of selection
    python benchmarks/imbalance.py digits --final       # each at its best, on fresh seeds; prints the table
    python benchmarks/imbalance.py cifar10 --noises none --methods cross-entropy mentor-la --seeds 1
    python benchmarks/imbalance.py groups [--final]     # a group that goes against what is easy (grouped/)

Digits: some 130 of the first class, and 6 of the last; `mlp`, 40 epochs, batch 64. CIFAR-10: 1,000 to 10, `cnn`, 40
epochs. 100 trusted samples, 10 a class, of which all methods are trained on 70; the test split is balanced. Rates are
chosen by accuracy on the other 30, over all noises, on seeds 0 to 9, and reported on seeds from 100 on. Rows are
appended to docs/tables/imbalance.csv as they come, and what is there is not run again.
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

import numpy as np
from grouped import running as grouped
from protocol.judged import hits_of
from protocol.pages import TABLES
from protocol.people import CIFAR
from protocol.rows import Cell, Row, Rows, number, read
from protocol.running import trained
from protocol.selection import chosen

from ray_mentor import TrainConfig
from ray_mentor.config.compared import METHODS as COMPARED
from ray_mentor.data.splits.splits import prepare

KEY = ("data", "noise", "method", "learning_rate", "seed")
FIGURES = (
    "kept_epoch", "trusted_accuracy", "balanced_accuracy", "many", "medium", "few", "worst_class", "noise_auroc",
    "cpu_seconds",
)  # fmt: skip
NOISES = ("none", "symmetric:0.4", "imb:0.4")
SELECTION, FINAL = range(10), range(100, 105)
RATES = {"digits": (0.04, 0.08, 0.16), "cifar10": (0.025, 0.05, 0.1)}

_PLAIN = {"method": "uniform", "mixing": "none"}
METHODS: dict[str, dict[str, Any]] = {
    "cross-entropy": _PLAIN,
    "inverse-frequency": {**_PLAIN, "loss": "class-balanced:1"},
    "class-balanced": {**_PLAIN, "loss": "class-balanced"},
    "ldam-drw": {**_PLAIN, "loss": "ldam", "reweight": "drw"},
    "logit-adjusted": {**_PLAIN, "loss": "logit-adjusted"},
    "small-loss-la": {"method": "self-paced", "loss": "logit-adjusted"},
    "meta-weight-net": dict(COMPARED["meta-weight-net"].settings),
    "cmw-net": dict(COMPARED["cmw-net"].settings),
    "mentor": {"method": "mentornet", "loss": "cross-entropy"},
    "mentor-la-given": {"method": "mentornet", "loss": "logit-adjusted", "min_class_share": 0.0},
    "mentor-la": {"method": "mentornet", "loss": "logit-adjusted:1:1"},
}  # fmt: skip
"""Settings over those of the data."""


def base_of(data: str, cifar: Path = CIFAR) -> TrainConfig:
    """Settings of every run, but for noise, method, rate and seed."""
    if data == "digits":
        return TrainConfig().changed(imbalance="exp:20", validation_share=0.0, epochs=40, batch_size=64)
    return TrainConfig().changed(
        data=str(cifar), imbalance="exp:100", train_size=2478, validation_share=0.0, student="cnn", epochs=40,
        batch_size=128, nesterov=False, precision="bf16",
    )  # fmt: skip


@dataclass(frozen=True)
class RunCell:
    """Runs a cell; picklable."""

    base: TrainConfig

    def __call__(self, cell: Cell) -> dict[str, Any]:
        config = self.base.changed(
            noise=cell["noise"], learning_rate=cell["learning_rate"], seed=cell["seed"], **METHODS[cell["method"]]
        )
        splits = prepare(config.data, config.run.seed)
        began = time.process_time()
        with tempfile.TemporaryDirectory() as folder:
            outcome = trained(config, dataclasses.replace(splits, test=None), folder)
            assert splits.test is not None
            hits = hits_of(config, outcome, splits.test)
        seconds = time.process_time() - began
        truth = splits.train.labels if splits.train.true_labels is None else splits.train.true_labels
        sizes = np.bincount(truth, minlength=len(splits.train.classes))
        of_class = np.array([hits[splits.test.labels == label].mean() for label in range(len(sizes))])
        groups = {"many": sizes > 100, "medium": (sizes >= 20) & (sizes <= 100), "few": sizes < 20}
        return {
            **{name: outcome.result[name] for name in ("kept_epoch", "trusted_accuracy", "noise_auroc")},
            "balanced_accuracy": float(of_class.mean()),
            **{name: float(of_class[of].mean()) if of.any() else None for name, of in groups.items()},
            "worst_class": float(of_class.min()),
            "cpu_seconds": seconds,
        }


def table(rows: Sequence[Row], methods: Sequence[str]) -> str:
    """A line a method: mean and standard deviation over the seeds of the report, and of its few-shot classes."""
    noises = [noise for noise in NOISES if any(row["noise"] == noise for row in rows)]
    found = [
        "| method | " + " | ".join(f"{noise} | few" for noise in noises) + " |",
        "|---|" + "---|" * 2 * len(noises),
    ]
    for method in methods:
        cells = []
        for noise in noises:
            of = [row for row in rows if (row["method"], row["noise"]) == (method, noise)]
            whole, few = ([number(row, name) for row in of] for name in ("balanced_accuracy", "few"))
            spread = f" ± {statistics.stdev(whole):.3f}" if len(whole) > 1 else ""
            cells.append(f"{statistics.fmean(whole):.3f}{spread} | {statistics.fmean(few):.3f}" if whole else " | ")
        found.append(f"| {method} | " + " | ".join(cells) + " |")
    return "\n".join(found)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", choices=(*RATES, "groups"))
    parser.add_argument("--noises", nargs="+", choices=NOISES, default=NOISES, help="(default all)")
    parser.add_argument("--methods", nargs="+", choices=(*METHODS, *grouped.METHODS), help="(default all)")
    parser.add_argument("--final", action="store_true", help="report, at the rates that were chosen")
    parser.add_argument("--seeds", type=int, help="that many (default one of selection, five of the report)")
    parser.add_argument("--rates", nargs="+", type=float, help="(default three of the data)")
    parser.add_argument("--cifar", type=Path, default=CIFAR, help="CIFAR-10 as Parquet")
    parser.add_argument("--processes", type=int, default=1, help="runs at a time, one thread each (default 1)")
    parser.add_argument("--rows", type=Path, help="(default docs/tables/imbalance.csv, or groups.csv)")
    options = parser.parse_args()
    if options.data == "groups":
        options.rows = options.rows or TABLES / "groups.csv"
        own, seeds = tuple(options.methods or grouped.METHODS), options.seeds or len(grouped.FINAL)
        grouped.fill(options.rows, own, final=options.final, seeds=seeds, processes=options.processes)
        return
    options.methods, options.rows = options.methods or tuple(METHODS), options.rows or TABLES / "imbalance.csv"
    rates = tuple(options.rates or RATES[options.data])
    seeds = (FINAL if options.final else SELECTION)[: options.seeds or (len(FINAL) if options.final else 1)]
    rows, run = Rows(options.rows, KEY, FIGURES), RunCell(base_of(options.data, options.cifar))
    best = dict.fromkeys(options.methods, rates)
    if options.final:
        known = [row for noise in NOISES for row in _of(read(options.rows), options.data, noise, SELECTION)]
        best = {method: (rate,) for method, rate in chosen(known, options.methods, rates).items()}
    cells = [
        {"data": options.data, "noise": noise, "method": method, "learning_rate": rate, "seed": seed}
        for seed in seeds
        for noise in options.noises
        for method, own in best.items()
        for rate in own
    ]
    rows.fill(cells, run, options.processes)
    found = [row for noise in options.noises for row in _of(read(options.rows), options.data, noise, seeds)]
    if options.final:
        print(table(found, options.methods))


def _of(rows: Sequence[Row], data: str, noise: str, seeds: Sequence[int]) -> list[Row]:
    return [row for row in rows if (row["data"], row["noise"]) == (data, noise) and int(row["seed"]) in seeds]


if __name__ == "__main__":
    main()
