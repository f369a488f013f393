"""How well a rule says what a weighting said."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ray_mentor.run.distilling.rows import Rows


@dataclass(frozen=True)
class Fidelity:
    """Of a rule's weights p to a weighting's w.

    Attributes:
        r_squared: 1 − Σ(w − p)²/Σ(w − mean)².
        spearman: correlation of the ranks over all rows; NaN where either is always the same.
        spearman_in_step: the same within a step, where the ranks of its samples are what weighs them against each
            other, its mean over steps.
        agreement: share of rows of which both are above ½, or neither.
    """

    r_squared: float
    spearman: float
    spearman_in_step: float
    agreement: float


def fidelity_of(rows: Rows, said: NDArray[np.float64]) -> Fidelity:
    """Of what a rule said of rows to what the weighting said."""
    table = pd.DataFrame({"w": rows.weight, "p": said})
    within = table.groupby(rows.step).rank()
    within -= within.groupby(rows.step).transform("mean")
    w, p = within["w"].to_numpy(np.float64), within["p"].to_numpy(np.float64)
    _, step = np.unique(rows.step, return_inverse=True)
    both, size = np.bincount(step, w * p), np.sqrt(np.bincount(step, w * w) * np.bincount(step, p * p))
    in_step = both[size > 0] / size[size > 0]
    return Fidelity(
        r_squared(rows.weight, said),
        _correlation(*(np.asarray(table[name].rank(), dtype=np.float64) for name in ("w", "p"))),
        float(in_step.mean()) if len(in_step) else float("nan"),
        float(((rows.weight > 0.5) == (said > 0.5)).mean()),
    )


def r_squared(weight: NDArray[np.float64], said: NDArray[np.float64]) -> float:
    """1 − Σ(w − p)²/Σ(w − mean)²; w are not all the same."""
    return float(1 - np.square(weight - said).sum() / np.square(weight - weight.mean()).sum())


def _correlation(first: NDArray[np.float64], second: NDArray[np.float64]) -> float:
    if np.ptp(first) == 0 or np.ptp(second) == 0:
        return float("nan")
    return float(np.corrcoef(first, second)[0, 1])
