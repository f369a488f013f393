"""What a few seeds say: 95 % intervals of a mean, of a difference, and of a gap closed."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

LEAST_GAP = 0.01
"""Between baseline and oracle, for the share that a method closes to be one: two tenths of a point have no shares."""


@dataclass(frozen=True)
class Estimate:
    """A figure and its 95 % interval; bounds are None where the seeds do not bound it.

    Attributes:
        value: the figure.
        low: the lower bound.
        high: the upper bound.
    """

    value: float
    low: float | None
    high: float | None


def mean(values: Sequence[float]) -> Estimate:
    """x̄ ± t·s/√n, t of Student's distribution with n − 1 degrees of freedom."""
    middle = statistics.fmean(values)
    if len(values) < 2:
        return Estimate(middle, None, None)
    half = _t(len(values)) * statistics.stdev(values) / math.sqrt(len(values))
    return Estimate(middle, middle - half, middle + half)


def difference(of: Sequence[float], than: Sequence[float]) -> Estimate:
    """The mean of the differences, seed by seed."""
    return mean([a - b for a, b in zip(of, than, strict=True)])


def gap_closed(method: Sequence[float], baseline: Sequence[float], oracle: Sequence[float]) -> Estimate:
    """(method − baseline)/(oracle − baseline) of the means over paired seeds, and Fieller's interval.

    With n_i = method − baseline and d_i = oracle − baseline of seed i, it holds the g that a paired t test does not
    refute: |n̄ − g·d̄| <= t·s(n − g·d)/√k. Where the gap d̄ itself may be 0, nothing is known of g: bounds None.
    """
    n, d = (np.subtract(each, baseline) for each in (method, oracle))
    value = float(n.mean() / d.mean()) if d.mean() != 0 else math.nan
    if len(n) < 2:
        return Estimate(value, None, None)
    (s_nn, s_nd), (_, s_dd) = np.cov(n, d) * _t(len(n)) ** 2 / len(n)
    a, b, c = d.mean() ** 2 - s_dd, n.mean() * d.mean() - s_nd, n.mean() ** 2 - s_nn
    if a <= 0 or d.mean() <= 0:
        return Estimate(value, None, None)
    root = math.sqrt(max(b * b - a * c, 0.0))
    return Estimate(value, float((b - root) / a), float((b + root) / a))


def _t(n: int) -> float:
    return float(stats.t.ppf(0.975, n - 1))
