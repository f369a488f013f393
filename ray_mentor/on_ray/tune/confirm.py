"""Whether the settings that a sweep found are better, or were lucky."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from typing import Any

from scipy import stats


def fresh_seeds(seed: int, count: int) -> list[int]:
    """Seeds that no trial of the sweep has seen."""
    return [seed + 1 + number for number in range(count)]


def verdict(best: Sequence[float], default: Sequence[float]) -> dict[str, Any]:
    """Mean of the paired differences d and its 95 % interval, d̄ ± t(n − 1)·s/√n; the interval says which is better.

    Args:
        best: true accuracies of the found settings, one a seed.
        default: those of the settings that the sweep began from, same seeds.

    Returns:
        ``difference`` with mean, low and high (None for one seed), and ``verdict``: "better", "worse" or
        "no difference shown".
    """
    d = [b - a for b, a in zip(best, default, strict=True)]
    mean = statistics.fmean(d)
    if len(d) < 2:
        return {"difference": {"mean": mean, "low": None, "high": None}, "verdict": "no difference shown"}
    half = float(stats.t.ppf(0.975, len(d) - 1)) * statistics.stdev(d) / math.sqrt(len(d))
    low, high = mean - half, mean + half
    says = "better" if low > 0 else "worse" if high < 0 else "no difference shown"
    return {"difference": {"mean": mean, "low": low, "high": high}, "verdict": says}
