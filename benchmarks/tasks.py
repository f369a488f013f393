r"""Which task should an agent practise next? Success on target tasks, by what chooses; episodes of trusted ones count.

    python benchmarks/tasks.py chain                 # rows on the seeds of selection, 0 to 9
    python benchmarks/tasks.py chain --final         # what is reported: seeds 100 to 104
    python benchmarks/tasks.py chain --methods mentor --settings junk --change pooling=\"source\" --rows FOLDER

Rows are appended to docs/tables/tasks.csv as they come, and what is there is not run again. What is played:
practising/chain.py; what a run is: practising/running.py.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from practising.running import FIGURES, METHODS, SETTINGS, RunCell
from practising.table import markdown
from protocol.pages import TABLES
from protocol.rows import Rows

KEY = ("setting", "method", "changes", "seed")
SELECTION, FINAL = range(10), range(100, 105)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("world", choices=("chain",))
    parser.add_argument("--final", action="store_true", help="report, on fresh seeds")
    parser.add_argument("--settings", nargs="+", choices=SETTINGS, default=list(SETTINGS), help="(default all)")
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=METHODS, help="(default all)")
    parser.add_argument("--change", nargs="+", default=[], metavar="NAME=VALUE", help="settings, values as JSON")
    parser.add_argument("--seeds", type=int, default=10, help="that many (default all)")
    parser.add_argument("--rows", type=Path, default=TABLES, help="folder of the rows (default docs/tables)")
    options = parser.parse_args()
    torch.set_num_threads(1)
    rows = Rows(options.rows / "tasks.csv", KEY, FIGURES)
    seeds = (FINAL if options.final else SELECTION)[: options.seeds]
    for setting in options.settings:
        cells = [
            {
                "setting": setting,
                "method": method,
                "changes": " ".join(options.change),
                "seed": seed,
            }
            for method in options.methods
            for seed in seeds
        ]
        rows.fill(cells, RunCell())
        print(f"{setting}\n{markdown(rows.read(), setting, seeds)}", flush=True)


if __name__ == "__main__":
    main()
