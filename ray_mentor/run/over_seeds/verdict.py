"""Whether settings are better than others, or were lucky."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from ray_mentor.run.over_seeds.intervals import difference


def fresh_seeds(seed: int, count: int) -> list[int]:
    """Seeds that no trial of a sweep has seen."""
    return [seed + 1 + number for number in range(count)]


def verdict(best: Sequence[float], default: Sequence[float]) -> dict[str, Any]:
    """Mean of the paired differences d and its 95 % interval, d̄ ± t(n − 1)·s/√n; the interval says which is better.

    Args:
        best: true accuracies of the settings in question, one a seed.
        default: those of the settings that they are compared with, same seeds.

    Returns:
        ``difference`` with mean, low and high (None for one seed, and where all differences are the same: as a few
        samples more at each of two seeds may be, which says nothing of chance), and ``verdict``: "better", "worse" or
        "no difference shown".
    """
    d = difference(best, default)
    if d.low is None or d.high is None or math.isclose(d.low, d.high, abs_tol=1e-9):
        return {"difference": {"mean": d.value, "low": None, "high": None}, "verdict": "no difference shown"}
    says = "better" if d.low > 0 else "worse" if d.high < 0 else "no difference shown"
    return {"difference": {"mean": d.value, "low": d.low, "high": d.high}, "verdict": says}
