"""Does it pay? Every method with the same means, at its own best learning rate, reported on what nothing was chosen on.

    python benchmarks/compare.py digits                     # three rates a method, on the seeds of selection
    python benchmarks/compare.py digits --final --pages     # each at its best, on fresh seeds; into the pages
    python benchmarks/compare.py A --noises human:random1 --methods mentornet gce --seeds 2
    python benchmarks/compare.py A --change gpu=true hold_on_device=true --processes 15    # one GPU, shared

Rows are appended to docs/tables/ as they come, and what is there is not run again; `--rows FOLDER` has them elsewhere.
What the regimes and noises are, and which seeds and images serve what: protocol/regimes.py.
"""

from __future__ import annotations

import argparse
import dataclasses
import functools
import statistics
import tempfile
import tomllib
from collections.abc import Sequence
from pathlib import Path

from protocol import pages, table
from protocol.methods import METHODS
from protocol.people import CIFAR, PEOPLE, labelled_by_people
from protocol.regimes import KEY, NOISES, SYMMETRIC, Regime, RunCell, regimes
from protocol.rows import Row, Rows, number, read
from protocol.running import FIGURES
from protocol.selection import chosen


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("regime", choices=("digits", "A", "B"))
    parser.add_argument("--noises", nargs="+", choices=NOISES, default=[SYMMETRIC], help=f"(default {SYMMETRIC})")
    parser.add_argument("--final", action="store_true", help="report, at the rates that were chosen")
    parser.add_argument("--pages", action="store_true", help="then write the tables into README.md and docs/")
    parser.add_argument("--methods", nargs="+", choices=METHODS, help="(default all that these data can have)")
    parser.add_argument("--seeds", type=int, help="of selection's seeds that many (default all of the regime's)")
    parser.add_argument("--cifar", type=Path, default=CIFAR, help="CIFAR-10 as Parquet")
    parser.add_argument("--people", type=Path, default=PEOPLE, help="CIFAR-N's labels as Parquet")
    parser.add_argument(
        "--change", nargs="+", default=[], metavar="NAME=VALUE", help="a setting of every run, as in TOML"
    )
    parser.add_argument("--processes", type=int, default=1, help="runs at a time, one thread each (default 1)")
    parser.add_argument("--rows", type=Path, default=pages.TABLES, help="folder of the rows (default docs/tables)")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as work:
        people = functools.partial(
            labelled_by_people, work=Path(work), cifar=options.cifar, people=options.people
        )  # fmt: skip
        regime = regimes(options.cifar, people)[options.regime]
        regime = dataclasses.replace(regime, base=regime.base.changed(**tomllib.loads("\n".join(options.change))))
        if options.seeds is not None:
            regime = dataclasses.replace(regime, selection_seeds=regime.selection_seeds[: options.seeds])
        methods = options.methods or regime.methods
        for noise in options.noises:
            if noise not in regime.noises:
                parser.error(f"{options.regime} has no labels of {noise}; of these there are {regime.noises}")
            print(f"{options.regime}, {noise}", flush=True)
            run = _report if options.final else _select
            print(run(options.regime, regime, noise, methods, options.rows, options.processes), flush=True)
    if options.pages:
        pages.write()


def _select(name: str, regime: Regime, noise: str, methods: Sequence[str], folder: Path, processes: int) -> str:
    rows = Rows(pages.selection_of(name, folder), KEY, FIGURES)
    rows.fill(regime.cells(noise, methods), RunCell(regime, regime.selection_test), processes)
    return selection(pages.at(noise, rows.read()), methods, regime)


def _report(name: str, regime: Regime, noise: str, methods: Sequence[str], folder: Path, processes: int) -> str:
    rates = chosen(pages.at(noise, read(pages.selection_of(name, folder))), methods, regime.rates)
    rows = Rows(pages.final_of(name, folder), KEY, FIGURES)
    rows.fill(regime.final_cells(noise, rates), RunCell(regime, regime.final_test), processes)
    return table.markdown(table.lines(pages.at(noise, rows.read())))


def selection(rows: Sequence[Row], methods: Sequence[str], regime: Regime) -> str:
    """A line a method: accuracy on held-out trusted samples at each rate, the chosen one between stars."""
    best = chosen(rows, methods, regime.rates)
    found = []
    for method in methods:
        shown = []
        for rate in regime.rates:
            of = [row for row in rows if row["method"] == method and number(row, "learning_rate") == rate]
            star = "*" if rate == best[method] else " "
            shown.append(f"{rate:g}: {star}{statistics.fmean(number(row, 'trusted_accuracy') for row in of):.4f}{star}")
        found.append(f"{method:28}{'  '.join(shown)}")
    return "\n".join(found)


if __name__ == "__main__":
    main()
