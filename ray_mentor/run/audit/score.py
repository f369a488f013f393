"""How likely a label is wrong: a fixed blend of what the ledger says of its sample, in which no true label is."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

INFLUENCE, THRESHOLD, STEEPNESS = 0.1, 0.1, 4.0
"""Chosen on digits with 40 % symmetric, asymmetric and instance noise, 10 % and none, seeds 0 to 2 (LOG.md)."""

_LEAST = 1e-12


def suspicion(margin: NDArray[np.float32], influence: NDArray[np.float32]) -> NDArray[np.float32]:
    """u_i = −m̄_i / median|m̄| + 0.1·s̄_i / sd(s̄).

    Above 0 the student, over the epochs after burn-in, would rather have said another class. An influence above 0 says
    that the loss on trusted samples rises where the sample counts more; one that is not known says nothing.

    Args:
        margin: m̄, mean margin of each sample; NaN where no logits were shown: then u is 0 but for influence.
        influence: s̄, mean influence of each; NaN where none was computed.
    """
    known = np.isfinite(margin)
    scale = max(float(np.median(np.abs(margin[known]))), _LEAST) if known.any() else 1.0
    found = np.where(known, -margin / np.float32(scale), np.float32(0))
    heard = np.isfinite(influence)
    spread = float(influence[heard].std(dtype=np.float64)) if heard.any() else 0.0
    if spread > _LEAST:
        found = found + np.where(heard, influence * np.float32(INFLUENCE / spread), np.float32(0))
    u: NDArray[np.float32] = found.astype(np.float32)
    return u


def score_of(u: NDArray[np.float32]) -> NDArray[np.float32]:
    """1 / (1 + exp(−4·(u − 0.1))), in [0, 1]; a label is taken for wrong above ½, that is where u > 0.1."""
    with np.errstate(over="ignore"):
        score: NDArray[np.float32] = (1 / (1 + np.exp(-STEEPNESS * (u - np.float32(THRESHOLD))))).astype(np.float32)
    return score


def by_ranks(loss: NDArray[np.float32], weight: NDArray[np.float32]) -> NDArray[np.float32]:
    """Where a ledger has no margins: the mean of two ranks in [0, 1], of a high mean loss and of a low mean weight.

    It orders the samples, and draws no line between wrong and right. Where all weigh the same it is the loss's alone.
    What is not known of a sample has a rank of ½.
    """
    of_loss, known = _ranks(loss), weight[np.isfinite(weight)]
    if not len(known) or np.ptp(known) <= _LEAST:
        return of_loss
    both: NDArray[np.float32] = (of_loss + _ranks(-weight)) / np.float32(2)
    return both


def _ranks(values: NDArray[np.float32]) -> NDArray[np.float32]:
    """From 0 for the lowest to 1; equal values share the mean of theirs."""
    known = np.isfinite(values)
    _, places, counts = np.unique(values[known], return_inverse=True, return_counts=True)
    middle = np.cumsum(counts) - (counts + 1) / 2
    ranks = np.full(len(values), 0.5, np.float32)
    ranks[known] = (middle / max(len(places) - 1, 1)).astype(np.float32)[places]
    return ranks
