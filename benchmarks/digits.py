"""The README's table and picture: every method on the digits, the same schedule for all.

    python benchmarks/digits.py --seeds 3

Prints mean and standard deviation of the kept student's test accuracy, the noise AUROC (of 1 − sample weight; of the
mean loss where weights are equal), and the mean sample weight of rightly and wrongly labelled samples; writes
docs/digits.png from the ledger of seed 0.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from matplotlib.figure import Figure
from rich.console import Console
from rich.table import Table
from runs import CURRICULA, curriculum, spread

from ray_mentor import Outcome, RunSettings, TrainConfig, train


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=3, help="runs per method, seeds 0..n-1 (default 3)")
    parser.add_argument("--workers", type=int, default=0, help="student workers; 0: in this process (default 0)")
    parser.add_argument("--picture", type=Path, default=Path("docs/digits.png"), help="where the picture goes")
    options = parser.parse_args()
    table = Table("method", "test accuracy", "noise AUROC", "weight, right label", "weight, wrong label", "train s")
    for method in CURRICULA:
        outcomes = [run(method, seed, options.workers) for seed in range(options.seeds)]
        table.add_row(method, *figures(outcomes))
        if method == "mentornet":
            picture(outcomes[0].ledger(), options.picture)
    Console(width=120).print(table)


def run(method: str, seed: int, workers: int) -> Outcome:
    """One run with the defaults."""
    settings = RunSettings(seed=seed, workers=workers, storage_path=tempfile.mkdtemp())
    return train(TrainConfig(curriculum=curriculum(method), run=settings), console=Console(quiet=True))


def figures(outcomes: list[Outcome]) -> list[str]:
    """The columns of a method's row."""
    weights = [mean_weights(outcome.ledger()) for outcome in outcomes]
    aurocs = [outcome.result["noise_auroc"] for outcome in outcomes]
    return [
        spread([outcome.result["test_accuracy"] for outcome in outcomes]),
        spread(aurocs),
        spread([right for right, _ in weights]),
        spread([wrong for _, wrong in weights]),
        f"{statistics.mean(outcome.result['train_seconds'] for outcome in outcomes):.1f}",
    ]


def mean_weights(ledger: pa.Table) -> tuple[float, float]:
    """Mean scored weight of rightly and of wrongly labelled samples in the last epoch."""
    last = ledger.filter(pc.equal(ledger["epoch"], pc.max(ledger["epoch"])))
    weight = last["scored_weight"].to_numpy()
    wrong = last["given_label"].to_numpy() != last["true_label"].to_numpy()
    return float(weight[~wrong].mean()), float(weight[wrong].mean())


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
