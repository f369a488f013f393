"""Does it pay? Every method with the same means, at its own best learning rate, reported on what nothing was chosen on.

    python benchmarks/regimes.py digits                     # three rates a method, on the seeds of selection
    python benchmarks/regimes.py digits --final --pages     # each at its best, on fresh seeds; into the pages

Rows are appended to docs/tables/ as they come, and what is there is not run again; `--rows FOLDER` has them elsewhere.
What the regimes are, and which seeds and images serve what: protocol/regimes.py.
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Sequence
from pathlib import Path

from protocol import pages, table
from protocol.methods import METHODS
from protocol.regimes import CIFAR, KEY, Regime, RunCell, regimes
from protocol.rows import Row, Rows, number, read
from protocol.running import FIGURES
from protocol.selection import chosen


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("regime", choices=("digits", "A", "B"))
    parser.add_argument("--final", action="store_true", help="report, at the rates that were chosen")
    parser.add_argument("--pages", action="store_true", help="then write the tables into README.md and docs/")
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=[*METHODS])
    parser.add_argument("--cifar", type=Path, default=CIFAR, help="CIFAR-10 as Parquet")
    parser.add_argument("--processes", type=int, default=1, help="runs at a time, one thread each (default 1)")
    parser.add_argument("--rows", type=Path, default=pages.TABLES, help="folder of the rows (default docs/tables)")
    options = parser.parse_args()
    regime = regimes(options.cifar)[options.regime]
    asked = pages.selection_of(options.regime, options.rows)
    if options.final:
        rates = chosen(read(asked), options.methods, regime.rates)
        rows = Rows(pages.final_of(options.regime, options.rows), KEY, FIGURES)
        rows.fill(regime.final_cells(rates), RunCell(regime, regime.final_test), options.processes)
        print(table.markdown(table.lines(rows.read())))
    else:
        rows = Rows(asked, KEY, FIGURES)
        rows.fill(regime.cells(options.methods), RunCell(regime, regime.selection_test), options.processes)
        print(selection(rows.read(), options.methods, regime))
    if options.pages:
        pages.write()


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
