"""Do the defaults help anywhere? One factor at a time around the centre of each kind of data.

    python benchmarks/anywhere.py --places wine digits-mlp --factors epochs noise
    python benchmarks/anywhere.py --change update_interval=10 --rows other.csv    # another default, on the same cells

A mentor beside equal weights and the oracle, both with the same trusted samples in training and the same mixing. Seeds
0 to 2 and the first 4,000 test images of CIFAR-10; with --final seeds 100 to 102 and the other 6,000. Rows are appended
as they come, and what is there is not run again. What the places and factors are: protocol/places.py.
"""

from __future__ import annotations

import argparse
import tempfile
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from protocol import goals
from protocol.methods import BASELINE, MENTOR, METHODS, ORACLE
from protocol.pages import TABLES
from protocol.people import CIFAR, PEOPLE
from protocol.places import FACTORS, KEY, PLACES, Place, cells_of, places
from protocol.regimes import FINAL_TEST, SELECTION_TEST
from protocol.rows import Cell, Rows
from protocol.running import FIGURES, run_method

SELECTION_SEEDS, FINAL_SEEDS = range(3), range(100, 103)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--places", nargs="+", choices=PLACES, default=[*PLACES[:-1]], help="(default all but the last)"
    )
    parser.add_argument("--factors", nargs="*", choices=FACTORS, default=[*FACTORS], help="none: the centres alone")
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=[BASELINE, MENTOR, ORACLE])
    parser.add_argument("--seeds", nargs="+", type=int, help="instead of 0 1 2 (100 101 102 with --final)")
    parser.add_argument("--final", action="store_true", help="fresh seeds and the other test images")
    parser.add_argument(
        "--change", nargs="+", default=[], metavar="NAME=VALUE", help="a setting of every run, as in TOML"
    )
    parser.add_argument("--cifar", type=Path, default=CIFAR, help="CIFAR-10 as Parquet")
    parser.add_argument("--people", type=Path, default=PEOPLE, help="CIFAR-N's labels as Parquet")
    parser.add_argument("--processes", type=int, default=1, help="runs at a time, one thread each (default 1)")
    parser.add_argument("--rows", type=Path, help="the CSV (default docs/tables/anywhere-selection.csv, or -final)")
    options = parser.parse_args()
    if options.change and options.rows is None:
        parser.error(
            "--change needs --rows: a row does not say what was changed, so give those runs a file of their own"
        )
    seeds = options.seeds or (FINAL_SEEDS if options.final else SELECTION_SEEDS)
    path = options.rows or TABLES / f"anywhere-{'final' if options.final else 'selection'}.csv"
    with tempfile.TemporaryDirectory() as work:
        where = places(Path(work), options.cifar, options.people)
        run = RunPlace(where, options.final, tomllib.loads("\n".join(options.change)))
        cells = [
            cell
            for name in options.places
            for cell in cells_of(where[name], name, options.factors, options.methods, seeds)
        ]
        rows = Rows(path, KEY, FIGURES)
        rows.fill(cells, run, options.processes)
    print(goals.report(rows.read()))


@dataclass(frozen=True)
class RunPlace:
    """Runs a cell; picklable.

    Attributes:
        where: the places by name.
        final: on the test images of the report.
        changes: settings of every run, over those of its cell.
    """

    where: dict[str, Place]
    final: bool
    changes: dict[str, Any]

    def __call__(self, cell: Cell) -> dict[str, Any]:
        place = self.where[cell["place"]]
        base = place.config(cell["factor"], cell["value"]).changed(**self.changes)
        test = (FINAL_TEST if self.final else SELECTION_TEST) if place.stored_test else None
        found = run_method(cell["method"], METHODS[cell["method"]].config(base, seed=cell["seed"]), test)
        return {name: found[name] for name in FIGURES}


if __name__ == "__main__":
    main()
