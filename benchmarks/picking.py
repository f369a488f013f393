"""Which samples should be checked by hand? Trusted sets of 50 digits, drawn in several ways, and what comes of them.

    python benchmarks/picking.py --seeds 0 1 2 3 4

A run without trusted samples (its meta set drawn from the noisy ones) says which labels look wrong; then 50 samples
of its training split are checked, and leave it, and a mentor learns from them. `data` and `run` are what `ray-mentor
pick` draws of either. The others are half (`all_`: all) of those that tell more, the rest at random, the classes that
the run suggests in balance: `uncertain`, whose score is nearest to ½; `wrong`, whose score is highest; `split`, whose
suggested label was said least often. A line of JSON a run, appended to --rows.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from protocol.running import trained

from ray_mentor import Audit, TrainConfig
from ray_mentor.data.splits.pool import balanced
from ray_mentor.data.splits.splits import Splits, prepare
from ray_mentor.run.audit.picked import picked_of_run

COUNT = 50
WAYS = ("data", "run", "suggested", "uncertain", "all_uncertain", "wrong", "split")
_DRAW = 411  # keeps the stream of a seed apart


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--noises", nargs="+", default=["symmetric:0.4", "asymmetric:0.4"])
    parser.add_argument("--seeds", nargs="+", type=int, default=[*range(100, 105)])
    parser.add_argument("--ways", nargs="+", choices=WAYS, default=["data", "run"])
    parser.add_argument("--rows", type=Path, default=Path("picking.jsonl"))
    options = parser.parse_args()
    for seed in options.seeds:
        for noise in options.noises:
            for row in rows_of(noise, seed, options.ways):
                print(row, flush=True)
                with open(options.rows, "a", encoding="utf-8") as file:
                    file.write(json.dumps(row) + "\n")


def rows_of(noise: str, seed: int, ways: list[str]) -> list[dict[str, Any]]:
    """A row a way, all of one earlier run."""
    base = TrainConfig().changed(noise=noise, seed=seed, meta_size=0)
    splits = prepare(base.data, seed)
    with tempfile.TemporaryDirectory() as folder:
        before = trained(base.changed(meta_from="pseudo-clean"), splits, folder)
        audit = Audit.from_run(before.path)
        found = []
        for way in ways:
            rows = picked(way, splits, audit, seed)
            found.append({"noise": noise, "seed": seed, "way": way, **_with(base, splits, rows)})
    return [{**row, "before": before.result["test_accuracy"]} for row in found]


def picked(way: str, splits: Splits, audit: Audit, seed: int) -> Any:
    """Rows of the training split."""
    draw, given = np.random.default_rng([seed, _DRAW]), splits.train.labels
    if way == "data":
        return balanced(given, COUNT, draw)
    if way == "run":
        ids = picked_of_run(audit, COUNT, seed)["sample_id"].to_numpy()
        return np.flatnonzero(np.isin(splits.train.ids, ids))
    table = audit.to_pandas().set_index("sample_id").loc[splits.train.ids]
    likely = pd.Categorical(table["suggested_label"].astype(str), splits.train.classes).codes.astype(np.int64)
    likely = np.where(likely < 0, given, likely)
    if way == "suggested":
        return balanced(likely, COUNT, draw)
    keys = {"wrong": -table["score"], "split": table["suggested_share"]}.get(way, (table["score"] - 0.5).abs())
    half = 0 if way == "all_uncertain" else COUNT // 2
    first = balanced(likely, half, draw) if half else np.zeros(0, np.int64)
    rest = np.setdiff1d(np.arange(len(given)), first)
    turn = keys.iloc[rest].groupby(likely[rest]).rank(method="first").to_numpy()
    order = np.lexsort((draw.permutation(likely.max() + 1)[likely[rest]], turn))
    return np.concatenate([first, rest[order[: COUNT - half]]])


def _with(base: TrainConfig, splits: Splits, rows: Any) -> dict[str, Any]:
    truth = splits.train.true_labels
    assert truth is not None
    meta = splits.train.with_labels(truth, None).select(np.sort(rows))
    rest = splits.train.select(np.setdiff1d(np.arange(len(truth)), rows))
    with tempfile.TemporaryDirectory() as folder:
        result = trained(base.changed(meta_size=100), dataclasses.replace(splits, meta=meta, train=rest), folder).result
    wrong = float((splits.train.labels[rows] != truth[rows]).mean())
    return {"accuracy": result["test_accuracy"], "noise_auroc": result["noise_auroc"], "wrong": wrong}


if __name__ == "__main__":
    main()
