"""The README's picture: what the mentor learns on the digits.

    python benchmarks/digits.py

Writes docs/digits.png, as `outcome.plot()` draws one run with the defaults. The tables are those of
benchmarks/compare.py.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

from protocol.methods import MENTOR, METHODS
from protocol.regimes import regimes
from protocol.running import trained

from ray_mentor.data.splits.splits import prepare


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--seed", type=int, default=regimes()["digits"].final_seeds[0], help="of the run (default %(default)s)"
    )
    parser.add_argument("--picture", type=Path, default=Path("docs/digits.png"), help="where the picture goes")
    options = parser.parse_args()
    config = METHODS[MENTOR].config(regimes()["digits"].base, seed=options.seed)
    with tempfile.TemporaryDirectory() as folder:
        trained(config, prepare(config.data, options.seed), folder).plot().savefig(options.picture, dpi=130)


if __name__ == "__main__":
    main()
