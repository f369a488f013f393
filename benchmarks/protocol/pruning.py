"""The baseline that everyone tries: drop the labels that cross-validation doubts, and train on the rest."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from protocol.judged import hits_of
from ray_mentor import Outcome, TrainConfig
from ray_mentor.data.splits.splits import Splits

FOLDS = 5
_FOLDS = 401  # keeps the stream of one seed apart


def agreeing(
    config: TrainConfig, splits: Splits, run: Callable[[Splits], Outcome], folds: int = FOLDS
) -> NDArray[np.bool_]:
    """The training samples whose given label is the class that a student predicts that was not trained on them.

    Args:
        config: of each fold's student; plain training, as its own sample weights would do the pruning's work.
        run: data, a fold left out → the finished run.
        folds: k; every class is spread over them.
    """
    right = np.zeros(len(splits.train), dtype=bool)
    for rows in fold_rows(splits.train.labels, folds, config.run.seed):
        rest = np.setdiff1d(np.arange(len(splits.train)), rows)
        data = dataclasses.replace(splits, train=splits.train.select(rest), test=None, validation=None)
        right[rows] = hits_of(config, run(data), splits.train.select(rows))
    return right


def fold_rows(labels: NDArray[np.int64], folds: int, seed: int) -> list[NDArray[np.int64]]:
    """The rows of each fold, drawn by seed; of no class two folds have numbers that differ by more than one."""
    order = np.random.default_rng([seed, _FOLDS]).permutation(len(labels))
    by_class = order[np.argsort(labels[order], kind="stable")]
    return [np.sort(by_class[start::folds]) for start in range(folds)]
