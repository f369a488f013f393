"""What a run's student is measured by when an epoch ends, each rank measuring its share."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from ray_mentor.core.curriculum import Curriculum
from ray_mentor.core.exchange import AbstractExchange
from ray_mentor.core.step.evaluation import count_correct, total_loss
from ray_mentor.data.plan.batches import rank_slice
from ray_mentor.data.samples.rows import Rows
from ray_mentor.data.samples.samples import Samples
from ray_mentor.data.splits.splits import Splits
from ray_mentor.run.draws import drawn_from

_PART = 512  # samples per evaluation batch


def measured(
    curriculum: Curriculum, splits: Splits, held_out: Samples | None, exchange: AbstractExchange
) -> dict[str, float | None]:
    """Held-out meta loss and accuracies at the end of an epoch; tells the curriculum of the loss. A collective call.

    Args:
        held_out: trusted samples that neither student nor mentor learns from; None if there are none.
    """
    measured_on = [each.inputs for each in (splits.test, splits.validation, held_out) if each is not None]
    with drawn_from((curriculum.generator("measured", exchange.rank).initial_seed(),), *measured_on):
        found = accuracies(curriculum, splits, exchange)  # gives all ranks rank 0's buffers
        loss = _meta_holdout_loss(curriculum, held_out, exchange)
    if loss is not None:
        curriculum.note_holdout(loss)
    return {"meta_holdout_loss": loss, **found}


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


def _meta_holdout_loss(curriculum: Curriculum, held_out: Samples | None, exchange: AbstractExchange) -> float | None:
    """What the mentor makes small, on the trusted samples that it does not learn from; None where there are none.

    In evaluation mode: so few samples make a poor batch for batch norm, and dropout would be noise.
    """
    if held_out is None or curriculum.parts.mentor is None:
        return None
    own = rank_slice(np.arange(len(held_out)), exchange.rank, exchange.world_size)
    total = total_loss(curriculum.bare, curriculum.parts.meta_loss, _parts(held_out, own))
    return exchange.total(total) / len(held_out)


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
