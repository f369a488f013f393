"""cleanlab's ranking and rate, from five trainings of the same student, each judged on the fold it did not see."""

from __future__ import annotations

import dataclasses
import tempfile
import time
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from protocol.pruning import FOLDS, fold_rows
from protocol.running import trained

from ray_mentor import Outcome, Samples, TrainConfig
from ray_mentor.core.step.evaluation import evaluating
from ray_mentor.data.splits.splits import Splits
from ray_mentor.students import make_student

_PART = 512  # samples a batch


@dataclass(frozen=True)
class Found:
    """What cleanlab says.

    Attributes:
        scores: of each training sample, in the order of the ids, by ``self_confidence`` and by ``normalized_margin``;
            the higher the more suspect.
        rate: its default count of label issues over N.
        cpu_seconds: of the five trainings.
    """

    scores: dict[str, NDArray[np.float64]]
    rate: float
    cpu_seconds: float


def cleanlab_on(config: TrainConfig, splits: Splits) -> Found:
    """Of plain training, the student of each fold kept as every run keeps its own."""
    from cleanlab.count import num_label_issues  # noqa: PLC0415 - an extra, asked for late
    from cleanlab.rank import get_label_quality_scores  # noqa: PLC0415

    began = time.process_time()
    labels = splits.train.labels
    said = np.zeros((len(labels), len(splits.train.classes)))
    for rows in fold_rows(labels, FOLDS, config.run.seed):
        rest = np.setdiff1d(np.arange(len(labels)), rows)
        data = dataclasses.replace(splits, train=splits.train.select(rest), test=None, validation=None)
        with tempfile.TemporaryDirectory() as folder:
            said[rows] = _probabilities(config, trained(config, data, folder), splits.train.select(rows))
    seconds = time.process_time() - began
    ways = ("self_confidence", "normalized_margin")
    by_id = np.argsort(splits.train.ids)
    scores = {way: -get_label_quality_scores(labels, said, method=way)[by_id] for way in ways}
    return Found(scores, num_label_issues(labels, said) / len(labels), seconds)


@torch.no_grad()
def _probabilities(config: TrainConfig, outcome: Outcome, samples: Samples) -> NDArray[np.float64]:
    student = make_student(config.student.student, samples.inputs.shape, len(samples.classes))
    student.load_state_dict(outcome.student_state)
    starts = range(0, len(samples), _PART)
    parts = [(np.arange(len(samples))[start : start + _PART], (config.run.seed, start)) for start in starts]
    with evaluating(student):
        logits = torch.cat([student(inputs) for inputs in samples.inputs.in_parts(parts)])
    return torch.softmax(logits.double(), dim=1).numpy()
