"""Each method at its own best of three learning rates, chosen on trusted hold-outs, never on a test split."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Sequence

from protocol.rows import Row, number


def chosen(rows: Sequence[Row], methods: Iterable[str], rates: tuple[float, ...]) -> dict[str, float]:
    """The learning rate of each method at which its kept students are right on most held-out trusted samples.

    The mean over seeds counts; of rates that are level, the one nearest the middle rate, and the lower of two as near.

    Args:
        rows: of selection seeds, with the columns method, learning_rate, seed, trusted_accuracy.

    Raises:
        ValueError: a method has no runs, or not the same seeds, at some rate.
    """
    return {method: _best([row for row in rows if row["method"] == method], method, rates) for method in methods}


def _best(rows: list[Row], method: str, rates: tuple[float, ...]) -> float:
    found = {rate: [row for row in rows if number(row, "learning_rate") == rate] for rate in rates}
    seeds = {rate: sorted(row["seed"] for row in of) for rate, of in found.items()}
    if not all(seeds.values()) or len({*map(tuple, seeds.values())}) > 1:
        raise ValueError(f"of {method} the seeds at each learning rate are {seeds}; run the selection first")
    middle = sorted(rates)[len(rates) // 2]

    def merit(rate: float) -> tuple[float, float]:
        accuracy = statistics.mean(number(row, "trusted_accuracy") for row in found[rate])
        return round(accuracy, 5), -abs(math.log(rate / middle))

    return max(sorted(rates), key=merit)
