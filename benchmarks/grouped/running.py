"""Every method with the same means where a group goes against what is easy, at its own best learning rate."""

from __future__ import annotations

import dataclasses
import statistics
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from protocol.judged import hits_of
from protocol.rows import Cell, Row, Rows, number, read
from protocol.running import trained
from protocol.selection import chosen

from grouped.patches import GROUPS, with_patches
from ray_mentor import TrainConfig
from ray_mentor.data.splits.splits import prepare

KEY = ("method", "learning_rate", "seed")
FIGURES = ("kept_epoch", "trusted_accuracy", "accuracy", "worst_group", "agreeing", "contrary", "cpu_seconds")
SELECTION, FINAL = range(3), range(100, 103)
RATES = (0.04, 0.08, 0.16)

_PLAIN = {"method": "uniform", "mixing": "none"}
METHODS: dict[str, dict[str, Any]] = {
    "cross-entropy-alone": {**_PLAIN, "meta_in_training": 0.0},
    "cross-entropy": _PLAIN,
    "group-dro": {"method": "group-dro"},
    "group-dro-0.1": {"method": "group-dro", "group_rate": 0.1},
    "even-groups": {**_PLAIN, "mixture": "uniform"},
    "group-dro-even": {"method": "group-dro", "mixture": "uniform"},
    "learned-mixture": {**_PLAIN, "mixture": "learned"},
    "mentornet": {"method": "mentornet"},
}
"""Settings over those of the data."""


def base_of() -> TrainConfig:
    """Settings of every run, but for method, rate and seed."""
    return TrainConfig().changed(noise="none", meta_size=200, validation_share=0.0, epochs=40, batch_size=64)


@dataclasses.dataclass(frozen=True)
class RunCell:
    """Runs a cell; picklable."""

    base: TrainConfig

    def __call__(self, cell: Cell) -> dict[str, Any]:
        config = self.base.changed(learning_rate=cell["learning_rate"], seed=cell["seed"], **METHODS[cell["method"]])
        splits = with_patches(prepare(config.data, config.run.seed), config.run.seed)
        test = splits.test
        assert test is not None
        assert test.groups is not None
        began = time.process_time()
        with tempfile.TemporaryDirectory() as folder:
            outcome = trained(config, dataclasses.replace(splits, test=None), folder)
            hits = hits_of(config, outcome, test)
        seconds = time.process_time() - began
        of_group = np.array([hits[rows].mean() for rows in test.groups.rows])
        return {
            **{name: outcome.result[name] for name in ("kept_epoch", "trusted_accuracy")},
            "accuracy": float(hits.mean()),
            "worst_group": float(of_group.min()),
            "agreeing": float(of_group[[0, len(GROUPS) - 1]].mean()),
            "contrary": float(of_group[1:-1].mean()),
            "cpu_seconds": seconds,
        }


def table(rows: Sequence[Row], methods: Sequence[str]) -> str:
    """A line a method: means over seeds, and the standard deviation of the worst group's accuracy."""
    found = ["| method | rate | worst group | contrary | agreeing | CPU seconds |", "|---|---|---|---|---|---|"]
    for method in methods:
        own = [row for row in rows if row["method"] == method]
        if not own:
            continue
        worst = [number(row, "worst_group") for row in own]
        spread = f" ± {statistics.stdev(worst):.3f}" if len(worst) > 1 else ""
        rest = (statistics.fmean(number(row, name) for row in own) for name in ("contrary", "agreeing"))
        seconds = statistics.fmean(number(row, "cpu_seconds") for row in own)
        says = " | ".join(f"{value:.3f}" for value in rest)
        rate = own[0]["learning_rate"]
        found.append(f"| `{method}` | {rate} | {statistics.fmean(worst):.3f}{spread} | {says} | {seconds:.1f} |")
    return "\n".join(found)


def fill(path: Path, methods: Sequence[str], *, final: bool, seeds: int, processes: int) -> None:
    """Runs what the file lacks; of the report it prints the table."""
    rows, run = Rows(path, KEY, FIGURES), RunCell(base_of())
    best: dict[str, tuple[float, ...]] = dict.fromkeys(methods, RATES)
    if final:
        known = [row for row in read(path) if int(row["seed"]) in SELECTION]
        best = {method: (rate,) for method, rate in chosen(known, methods, RATES).items()}
    some = (FINAL if final else SELECTION)[:seeds]
    cells = [
        {"method": method, "learning_rate": rate, "seed": seed}
        for seed in some
        for method, own in best.items()
        for rate in own
    ]
    rows.fill(cells, run, processes)
    if final:
        print(table([row for row in read(path) if int(row["seed"]) in some], methods))
