"""The README's picture: what the mentor learns on the digits.

    python benchmarks/digits.py

Writes docs/digits.png from the ledger of one run with the defaults. The tables are those of benchmarks/regimes.py.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import numpy as np
import pyarrow as pa
from matplotlib.figure import Figure
from protocol.methods import MENTOR, METHODS
from protocol.regimes import FINAL_SEEDS, regimes
from protocol.running import trained

from ray_mentor.data.splits.splits import prepare


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seed", type=int, default=FINAL_SEEDS[0], help="of the run (default %(default)s)")
    parser.add_argument("--picture", type=Path, default=Path("docs/digits.png"), help="where the picture goes")
    options = parser.parse_args()
    config = METHODS[MENTOR].config(regimes()["digits"].base, seed=options.seed)
    with tempfile.TemporaryDirectory() as folder:
        picture(trained(config, prepare(config.data, options.seed), folder).ledger(), options.picture)


def picture(ledger: pa.Table, path: Path) -> None:
    """Weight against loss in the last epoch, and mean weight over the epochs, for right and wrong labels."""
    epoch = ledger["epoch"].to_numpy()
    wrong = ledger["given_label"].to_numpy() != ledger["true_label"].to_numpy()
    weight, loss = ledger["scored_weight"].to_numpy(), ledger["loss"].to_numpy()
    figure = Figure(figsize=(9, 3.4), layout="constrained")
    left, right = figure.subplots(1, 2)
    for flag, name, colour in ((False, "right label", "#1a7f5a"), (True, "wrong label", "#c2410c")):
        mean = [weight[(epoch == e) & (wrong == flag)].mean() for e in range(epoch.max() + 1)]
        left.plot(mean, color=colour, label=name)
        rows = np.flatnonzero((epoch == epoch.max()) & (wrong == flag))
        right.scatter(loss[rows], weight[rows], s=8, alpha=0.5, color=colour, label=name, linewidths=0)
    left.set(xlabel="epoch", ylabel="mean sample weight", ylim=(0, 1.02), title="what the mentor learns")
    right.set(xlabel="loss (nats)", ylabel="sample weight", ylim=(-0.02, 1.02), title="last epoch, a dot per sample")
    left.legend(frameon=False)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=130)


if __name__ == "__main__":
    main()
