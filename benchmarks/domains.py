"""Which share should each source have? Ways to mix text, by bits per byte of what a small model was trained for.

    python benchmarks/domains.py A --oracle           # looks for the best static mixture, on seed 0
    python benchmarks/domains.py A                    # rows on the seeds of selection, 0 to 2
    python benchmarks/domains.py A B C --final        # what is reported: fresh seeds, other test text
    python benchmarks/domains.py A --rows FOLDER --methods learned --change shares_rate=4

Rows are appended to docs/tables/domains.csv as they come, and what is there is not run again. What the settings are,
and which seeds and text serve what: mixing/pools.py. Every run sees as many bytes as any other; updates are charged,
in CPU seconds of the loop beside those of its own steps.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from mixing.pools import TEXTS, pool_of
from mixing.running import FIGURES, RunCell
from mixing.search import candidates
from mixing.table import BEST, METHODS, best_of, markdown
from protocol.pages import TABLES
from protocol.rows import Rows

KEY = ("setting", "method", "changes", "seed")
SELECTION, FINAL = range(3), range(100, 103)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("settings", nargs="+", choices=("A", "B", "C"))
    parser.add_argument("--oracle", action="store_true", help="look for the best static mixture")
    parser.add_argument("--final", action="store_true", help="report, on fresh seeds and text")
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=METHODS, help="(default all)")
    parser.add_argument(
        "--change", nargs="+", default=[], metavar="NAME=VALUE", help="settings of what learns, in place of its own"
    )
    parser.add_argument("--seeds", type=int, default=3, help="that many (default 3)")
    parser.add_argument("--rows", type=Path, default=TABLES, help="folder of the rows (default docs/tables)")
    options = parser.parse_args()
    if not TEXTS.is_dir():
        parser.error(f"{TEXTS} has the texts, but is not there")
    torch.set_num_threads(1)
    rows = Rows(options.rows / "domains.csv", KEY, FIGURES)
    for setting in options.settings:
        if options.oracle:
            tried = candidates(setting, list(pool_of(setting, 0, final=False).sources))
            cells = [{"setting": setting, "method": each, "changes": "", "seed": 0} for each in tried]
        else:
            seeds = (FINAL if options.final else SELECTION)[: options.seeds]
            changes = {
                name: " ".join(options.change) if options.change and own else own for name, own in METHODS.items()
            }
            methods = {name: best_of(rows.read(), setting) if name == BEST else name for name in options.methods}
            cells = [
                {"setting": setting, "method": method, "changes": changes[name], "seed": seed}
                for seed in seeds
                for name, method in methods.items()
                if method is not None
            ]
        rows.fill(cells, RunCell(final=options.final))
        print(markdown(rows.read(), setting, FINAL if options.final else SELECTION), flush=True)


if __name__ == "__main__":
    main()
