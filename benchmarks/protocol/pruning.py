"""The baseline that everyone tries: drop the labels that cross-validation doubts, and train on the rest."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np
import torch
from jaxtyping import Bool
from numpy.typing import NDArray
from torch import Tensor

from ray_mentor import Outcome, Samples, TrainConfig
from ray_mentor.core.step.evaluation import hits
from ray_mentor.data.splits.splits import Splits
from ray_mentor.students import make_student

FOLDS = 5
_FOLDS, _PART = 401, 512  # keeps the stream of one seed apart; samples a batch


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
        right[rows] = _given_labels(config, run(data), splits.train.select(rows))
    return right


def fold_rows(labels: NDArray[np.int64], folds: int, seed: int) -> list[NDArray[np.int64]]:
    """The rows of each fold, drawn by seed; of no class two folds have numbers that differ by more than one."""
    order = np.random.default_rng([seed, _FOLDS]).permutation(len(labels))
    by_class = order[np.argsort(labels[order], kind="stable")]
    return [np.sort(by_class[start::folds]) for start in range(folds)]


def _given_labels(config: TrainConfig, outcome: Outcome, samples: Samples) -> Bool[Tensor, " samples"]:
    """Which samples the finished run's student gives their given label."""
    student = make_student(config.student.student, samples.inputs.shape, len(samples.classes))
    student.load_state_dict(outcome.student_state)
    starts = range(0, len(samples), _PART)
    parts = [(np.arange(len(samples))[start : start + _PART], (config.run.seed, start)) for start in starts]
    inputs = samples.inputs.in_parts(parts)
    labels = (torch.from_numpy(samples.labels[rows]) for rows, _ in parts)
    found = hits(student, zip(inputs, labels, strict=True))
    assert found is not None
    return found
