"""How many trusted samples does one need, and must their labels be right?

    python benchmarks/trusted.py digits --pages
    python benchmarks/trusted.py A --noises symmetric:0.4 human:random1

The mentor beside plain training on the same trusted samples, too, with 10 to 500 of them, whose labels are
right or as wrong as all others are and taken for right; without any, plain training, and a mentor whose meta set is
drawn from the noisy samples. Otherwise the defaults of the regime, on seeds 100 to 102. Rows are appended to
docs/tables/trusted.csv, and what is there is not run again.
"""

from __future__ import annotations

import argparse
import dataclasses
import functools
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
from protocol import pages, trusted_table
from protocol.methods import MENTOR, METHODS
from protocol.people import CIFAR, PEOPLE, labelled_by_people
from protocol.regimes import HUMAN, NOISES, SYMMETRIC, Regime, regimes
from protocol.rows import Cell, Rows
from protocol.running import FIGURES, run_method
from protocol.trusted_table import BASELINE, CLEAN, KEY, NOISY, WITHOUT

from ray_mentor.data.splits.noise import add_noise
from ray_mentor.data.splits.splits import Splits

SIZES, SEEDS = (10, 30, 100, 500), range(100, 103)
_TRUSTED_NOISE = 402  # keeps the stream of one seed apart


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("regime", choices=("digits", "A", "B"))
    parser.add_argument("--noises", nargs="+", choices=NOISES, default=[SYMMETRIC, "asymmetric:0.4"])
    parser.add_argument("--sizes", nargs="+", type=int, default=[0, *SIZES], help="(default 0 and %(default)s)")
    parser.add_argument("--seeds", nargs="+", type=int, default=[*SEEDS], help="(default %(default)s)")
    parser.add_argument("--pages", action="store_true", help="then write the tables into docs/")
    parser.add_argument("--cifar", type=Path, default=CIFAR, help="CIFAR-10 as Parquet")
    parser.add_argument("--people", type=Path, default=PEOPLE, help="CIFAR-N's labels as Parquet")
    parser.add_argument("--processes", type=int, default=1, help="runs at a time, one thread each (default 1)")
    parser.add_argument("--rows", type=Path, default=pages.TABLES, help="folder of the rows (default docs/tables)")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as work:
        people = functools.partial(labelled_by_people, work=Path(work), cifar=options.cifar, people=options.people)
        regime = regimes(options.cifar, people)[options.regime]
        for noise in options.noises:
            if noise not in regime.noises:
                parser.error(f"{options.regime} has no labels of {noise}; of these there are {regime.noises}")
        rows = Rows(options.rows / "trusted.csv", KEY, FIGURES)
        cells = cells_of(options.regime, options.noises, options.sizes, options.seeds)
        rows.fill(cells, RunCell(regime, options.people), options.processes)
    print(trusted_table.markdown(rows.read(), options.regime))
    if options.pages:
        pages.write()


def cells_of(name: str, noises: Sequence[str], sizes: Sequence[int], seeds: Sequence[int]) -> list[Cell]:
    """With right and with wrong labels, both methods; without trusted samples, those that need none."""
    kinds = [
        (size, labels, method)
        for size in sizes
        for labels in ((CLEAN, NOISY) if size else (CLEAN,))
        for method in ((BASELINE, MENTOR) if size else WITHOUT)
    ]
    return [
        {"regime": name, "noise": noise, "trusted": size, "labels": labels, "method": method, "seed": seed}
        for seed in seeds
        for noise in noises
        for size, labels, method in kinds
    ]


@dataclass(frozen=True)
class RunCell:
    """Runs a cell; picklable."""

    regime: Regime
    people: Path

    def __call__(self, cell: Cell) -> dict[str, Any]:
        base = self.regime.at(cell["noise"]).changed(meta_size=cell["trusted"])
        config = METHODS[cell["method"]].config(base, seed=cell["seed"])
        change = functools.partial(distrusted, cell=cell, people=self.people) if cell["labels"] == NOISY else None
        found = run_method(cell["method"], config, self.regime.final_test, change)
        return {name: found[name] for name in FIGURES}


def distrusted(splits: Splits, cell: Cell, people: Path) -> Splits:
    """The same data, whose trusted samples have labels as wrong as all others', and taken for right."""
    if cell["noise"] == HUMAN:
        given = pq.read_table(people, columns=["sample_id", HUMAN.partition(":")[2]])
        ids, labels = (column.to_numpy() for column in given.columns)
        order = np.argsort(ids)
        found = labels[order][np.searchsorted(ids[order], splits.meta.ids)].astype(np.int64)
    else:
        kind, _, rate = cell["noise"].partition(":")
        found = add_noise(splits.meta, kind, float(rate), cell["seed"], _TRUSTED_NOISE).labels
    return dataclasses.replace(splits, meta=dataclasses.replace(splits.meta, labels=found, true_labels=None))


if __name__ == "__main__":
    main()
