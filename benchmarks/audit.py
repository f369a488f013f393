"""How well wrong labels are found, by one run's audit and by cleanlab's five trainings of the same student.

    pip install 'ray-mentor[audit-bench]'
    python benchmarks/audit.py digits
    python benchmarks/audit.py A --noises asymmetric:0.4 --seeds 100

A regime of benchmarks/protocol, or a table whose classes overlap, at its defaults; cleanlab and the published detectors
have plain training on the same samples, the trusted ones included. Reported on seeds 100 to 104; what the audit is made
of was chosen on digits, seeds 0 to 7, on such tables of other seeds and on B, seed 0. Rows are appended to
docs/tables/audit.csv, and what is there is not run again.
"""

from __future__ import annotations

import argparse
import dataclasses
import functools
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from auditing import overlapping as overlap
from auditing.detectors import DETECTORS, missed
from auditing.with_cleanlab import cleanlab_on
from numpy.typing import NDArray
from protocol import pages
from protocol.methods import MENTOR, METHODS
from protocol.people import CIFAR
from protocol.regimes import HUMAN, NOISES, Regime, regimes
from protocol.rows import Cell, Row, Rows
from protocol.running import trained
from sklearn.metrics import average_precision_score, roc_auc_score

from ray_mentor import Audit
from ray_mentor.data.splits.splits import prepare

PLAIN = "uniform-trusted"
SEEDS = range(100, 105)
KEY = ("regime", "noise", "seed", "detector")
FIGURES = ("auroc", "average_precision", "missed", "rate", "true_rate", "low", "high", "cpu_seconds")
WAYS = (
    "audit", "audit of plain training", "last loss of the mentor's run", *DETECTORS,
    "cleanlab self_confidence", "cleanlab normalized_margin",
)  # fmt: skip
OVERLAPPING = "overlapping"
KINDS = [noise for noise in NOISES if noise != HUMAN]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("regime", choices=("digits", "A", "B", OVERLAPPING))
    parser.add_argument("--noises", nargs="+", help="(default 40 % of each kind, or a quarter where classes overlap)")
    parser.add_argument("--seeds", nargs="+", type=int, default=[*SEEDS], help="(default %(default)s)")
    parser.add_argument("--ways", nargs="+", choices=WAYS, default=[*WAYS], help="(default all)")
    parser.add_argument("--cifar", type=Path, default=CIFAR, help="CIFAR-10 as Parquet")
    parser.add_argument("--rows", type=Path, default=pages.TABLES, help="folder of the rows (default docs/tables)")
    options = parser.parse_args()
    rows = Rows(options.rows / "audit.csv", KEY, FIGURES)
    noises = options.noises or (overlap.NOISES if options.regime == OVERLAPPING else KINDS)
    cells = [
        {"regime": options.regime, "noise": noise, "seed": seed, "detector": way}
        for noise in noises
        for seed in options.seeds
        for way in options.ways
    ]
    with tempfile.TemporaryDirectory() as folder:
        all_ = {**regimes(options.cifar), OVERLAPPING: overlap.overlapping(Path(folder))}
        rows.fill(cells, RunCell(all_[options.regime]))
    print(table(rows.read(), options.regime))


@dataclass(frozen=True)
class RunCell:
    """What a way says of the samples of a cell; runs are made once for all ways that follow one another."""

    regime: Regime

    def __call__(self, cell: Cell) -> dict[str, Any]:
        noise, seed, way = cell["noise"], cell["seed"], cell["detector"]
        if way.startswith("cleanlab"):
            found = _cleanlab(self.regime, noise, seed)
            scores, rate = found.scores[way.partition(" ")[2]], found.rate
            return figures(_labels(self.regime, noise, seed), scores, found.cpu_seconds, rate)
        ran = _run(self.regime, noise, seed, MENTOR if way in _OF_THE_MENTOR else PLAIN)
        if way.startswith("audit"):
            rate = ran.audit.rate
            assert rate is not None
            score = ran.audit.to_pandas().sort_values("sample_id")["score"].to_numpy()
            return figures(ran.wrong, score, ran.cpu_seconds, rate.rate) | {"low": rate.low, "high": rate.high}
        scores = DETECTORS[way.partition(" of the")[0]](ran.ledger).sort_index().to_numpy()
        return figures(ran.wrong, scores, ran.cpu_seconds, None)


_OF_THE_MENTOR = ("audit", "last loss of the mentor's run")


def figures(wrong: NDArray[np.bool_], scores: NDArray[Any], seconds: float, rate: float | None) -> dict[str, Any]:
    """Of one way; what can't be measured without a wrong label is None."""
    some = bool(wrong.any())
    return {
        "auroc": float(roc_auc_score(wrong, scores)) if some else None,
        "average_precision": float(average_precision_score(wrong, scores)) if some else None,
        "missed": missed(wrong, scores) if some else None,
        "rate": rate,
        "true_rate": float(wrong.mean()),
        "cpu_seconds": seconds,
    }


@dataclass(frozen=True)
class Ran:
    """A run: its ledger and audit; which labels are wrong, by id; CPU seconds of training and audit."""

    ledger: pd.DataFrame
    audit: Audit
    wrong: NDArray[np.bool_]
    cpu_seconds: float


@functools.lru_cache(2)
def _run(regime: Regime, noise: str, seed: int, method: str) -> Ran:
    config = METHODS[method].config(regime.at(noise), seed=seed)
    began = time.process_time()
    splits = dataclasses.replace(prepare(config.data, seed), test=None)
    with tempfile.TemporaryDirectory() as folder:
        outcome = trained(config, splits, folder)
        audit, ledger = outcome.audit(), outcome.ledger().to_pandas()
    return Ran(ledger, audit, _labels(regime, noise, seed), time.process_time() - began)


@functools.lru_cache(1)
def _cleanlab(regime: Regime, noise: str, seed: int) -> Any:
    config = METHODS[PLAIN].config(regime.at(noise), seed=seed)
    return cleanlab_on(config, prepare(config.data, seed))


@functools.lru_cache(1)
def _labels(regime: Regime, noise: str, seed: int) -> NDArray[np.bool_]:
    """Which given labels are wrong, in the order of the ids."""
    train = prepare(regime.at(noise).data, seed).train
    truth = train.labels if noise == "none" or train.true_labels is None else train.true_labels
    wrong: NDArray[np.bool_] = (train.labels != truth)[np.argsort(train.ids)]
    return wrong


def table(found: Sequence[Row], regime: str) -> str:
    """Means over the seeds, as Markdown; the error of a rate is the mean of |rate − true rate|."""
    rows = pd.DataFrame(found).replace("", np.nan).astype(dict.fromkeys(FIGURES, float))
    rows = rows[rows["regime"] == regime]
    error = (rows["rate"] - rows["true_rate"]).abs()
    inside = ((rows["low"] <= rows["true_rate"]) & (rows["true_rate"] <= rows["high"])).where(rows["low"].notna())
    shown = rows.assign(rate_error=error, inside=inside.astype(float))
    columns = ("auroc", "average_precision", "missed", "rate", "rate_error", "inside", "cpu_seconds")
    means = shown.groupby(["noise", "detector"], sort=False)[list(columns)].mean()
    head = ["noise", "found by", "AUROC", "average precision", "missed", "rate", "off by", "interval holds it", "CPU s"]
    lines = [head, ["---"] * len(head)]
    asked = ((noise, way) for noise in (*NOISES, *overlap.NOISES) for way in WAYS if (noise, way) in means.index)
    for noise, way in asked:
        row = means.loc[noise, way]
        lines.append([noise, way, *(_cell(name, row[name]) for name in columns)])
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _cell(name: str, value: float) -> str:
    if np.isnan(value):
        return ""
    return f"{value:.0f}" if name == "cpu_seconds" else f"{value:.1%}" if "rate" in name else f"{value:.3f}"


if __name__ == "__main__":
    main()
