"""Which trials nobody beats in both accuracy and time."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt


def pareto_front(accuracy: npt.ArrayLike, seconds: npt.ArrayLike) -> npt.NDArray[np.bool_]:
    """Marks the trials that no other dominates: at least as accurate, at least as fast, and one of them strictly.

    Args:
        accuracy: one a trial, more is better.
        seconds: one a trial, fewer is better.

    Returns:
        One mark a trial. A trial whose accuracy or seconds are not finite is never marked and beats nobody.
    """
    a, s = np.asarray(accuracy, dtype=float), np.asarray(seconds, dtype=float)
    known = np.isfinite(a) & np.isfinite(s)
    marks = np.zeros(a.shape, dtype=bool)
    marks[known] = _undominated(a[known], s[known])
    return marks


def _undominated(a: npt.NDArray[np.float64], s: npt.NDArray[np.float64]) -> npt.NDArray[np.bool_]:
    as_good = (a[None, :] >= a[:, None]) & (s[None, :] <= s[:, None])
    better = (a[None, :] > a[:, None]) | (s[None, :] < s[:, None])
    beaten: npt.NDArray[np.bool_] = np.logical_and(as_good, better).max(axis=1, initial=False)
    return ~beaten
