"""Accuracy of a run's student, each rank counting its share."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from ray_mentor.core.curriculum import Curriculum
from ray_mentor.core.evaluation import count_correct
from ray_mentor.core.exchange import AbstractExchange
from ray_mentor.data.batches import Rows, rank_slice
from ray_mentor.data.samples import Samples
from ray_mentor.data.splits import Splits

_PART = 512  # samples per evaluation batch


def accuracies(curriculum: Curriculum, splits: Splits, exchange: AbstractExchange) -> dict[str, float | None]:
    """Accuracy of rank 0's student on the test split and on the (noisy) validation split; None where there is none.

    A collective call. Without synchronised batch norm the ranks' running statistics differ; rank 0's
    are the run's, as at the next forward pass.
    """
    for buffer in curriculum.bare.buffers():
        buffer.copy_(exchange.broadcast_floats(buffer.cpu()))
    return {
        "test_accuracy": _accuracy(curriculum, splits.test, exchange),
        "validation_accuracy": _accuracy(curriculum, splits.validation, exchange),
    }


def _accuracy(curriculum: Curriculum, samples: Samples | None, exchange: AbstractExchange) -> float | None:
    if samples is None:
        return None
    own = rank_slice(np.arange(len(samples)), exchange.rank, exchange.world_size)
    correct = count_correct(curriculum.bare, _parts(samples, own))
    return exchange.total(float(correct)) / len(samples)


def _parts(samples: Samples, rows: Rows) -> Iterator[tuple[Tensor, Tensor]]:
    for start in range(0, len(rows), _PART):
        part = rows[start : start + _PART]
        yield samples.inputs.take(part), torch.from_numpy(samples.labels[part])
