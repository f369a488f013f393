"""How many trusted samples one needs, as a table."""

from __future__ import annotations

import statistics
from collections.abc import Sequence

from protocol.methods import MENTOR
from protocol.rows import Row, number

KEY = ("regime", "noise", "trusted", "labels", "method", "seed")
BASELINE = "uniform-trusted"  # of which nothing is asked: mixing by weight needs some held out, and of ten none can be
CLEAN, NOISY = "right", "noisy"
WITHOUT = ("uniform", "mentornet-pseudo-clean")
"""Methods that need no trusted sample: plain training, and the mentor."""


def markdown(rows: Sequence[Row], regime: str) -> str:
    """A line a noise, number and kind of label: plain training, and the mentor, mean ± standard deviation."""
    rows = [row for row in rows if row["regime"] == regime]
    head = "| noise | trusted samples | their labels | plain training | mentor | ahead |\n|---|---|---|---|---|---|"
    kinds = dict.fromkeys((row["noise"], int(row["trusted"]), row["labels"]) for row in rows)
    noises = [noise for noise, *_ in kinds]
    order = sorted(kinds, key=lambda kind: (noises.index(kind[0]), kind[2] == NOISY, kind[1]))
    return "\n".join([head, *(_line(rows, *kind) for kind in order)])


def _line(rows: Sequence[Row], noise: str, trusted: int, labels: str) -> str:
    methods = (BASELINE, MENTOR) if trusted else WITHOUT
    found = [
        {
            row["seed"]: number(row, "test_accuracy")
            for row in rows
            if (row["noise"], row["trusted"], row["labels"], row["method"]) == (noise, str(trusted), labels, method)
        }
        for method in methods
    ]
    seeds = found[0].keys() & found[1].keys()
    ahead = f"{100 * statistics.fmean(found[1][s] - found[0][s] for s in seeds):+.1f}" if seeds else "–"
    shown = " | ".join(_spread([*of.values()]) for of in found)
    return f"| {noise} | {trusted} | {labels if trusted else '–'} | {shown} | {ahead.replace('-', '−')} |"


def _spread(values: list[float]) -> str:
    if not values:
        return "–"
    return f"{statistics.fmean(values):.3f} ± {statistics.stdev(values) if len(values) > 1 else 0:.3f}"
