"""What a run's student is measured by when an epoch ends, each rank measuring its share."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import torch
from torch import Tensor

from ray_mentor.core.curriculum import Curriculum
from ray_mentor.core.exchange import AbstractExchange
from ray_mentor.core.step.evaluation import count_correct, total_loss
from ray_mentor.data.plan.batches import rank_slice
from ray_mentor.data.samples.samples import Samples
from ray_mentor.data.splits.splits import Splits

_PART = 512  # samples per evaluation batch


def measured(
    curriculum: Curriculum,
    splits: Splits,
    held_out: Samples | None,
    exchange: AbstractExchange,
    beat: Callable[[], None] = lambda: None,
) -> dict[str, float | None]:
    """Held-out meta loss and accuracies at the end of an epoch; tells the curriculum of the loss. A collective call.

    Args:
        held_out: trusted samples that neither student nor mentor learns from; None if there are none.
        beat: called after each part of a split.
    """
    found = accuracies(curriculum, splits, exchange, beat)  # gives all ranks rank 0's buffers
    loss = _meta_holdout_loss(curriculum, held_out, exchange)
    if loss is not None:
        curriculum.note_holdout(loss)
    return {"meta_holdout_loss": loss, **found}


def accuracies(
    curriculum: Curriculum, splits: Splits, exchange: AbstractExchange, beat: Callable[[], None] = lambda: None
) -> dict[str, float | None]:
    """Accuracy of rank 0's student on the test split and on the (noisy) validation split; None where there is none.

    A collective call. Without synchronised batch norm the ranks' running statistics differ; rank 0's
    are the run's, as at the next forward pass.
    """
    for buffer in curriculum.bare.buffers():
        buffer.copy_(exchange.broadcast_floats(buffer.cpu()))
    return {
        f"{name}_accuracy": _accuracy(curriculum, samples, name, exchange, beat)
        for name, samples in (("test", splits.test), ("validation", splits.validation))
    }


def _meta_holdout_loss(curriculum: Curriculum, held_out: Samples | None, exchange: AbstractExchange) -> float | None:
    """What the mentor makes small, on the trusted samples that it does not learn from; None where there are none.

    In evaluation mode: so few samples make a poor batch for batch norm, and dropout would be noise.
    """
    if held_out is None or curriculum.parts.mentor is None:
        return None
    parts = _parts(held_out, "held out", curriculum, exchange)
    total = total_loss(curriculum.bare, curriculum.parts.meta_loss, parts)
    return exchange.total(total) / len(held_out)


def _accuracy(
    curriculum: Curriculum, samples: Samples | None, name: str, exchange: AbstractExchange, beat: Callable[[], None]
) -> float | None:
    if samples is None:
        return None
    correct = count_correct(curriculum.bare, _parts(samples, name, curriculum, exchange, beat))
    return exchange.total(float(correct)) / len(samples)


def _parts(
    samples: Samples,
    name: str,
    curriculum: Curriculum,
    exchange: AbstractExchange,
    beat: Callable[[], None] = lambda: None,
) -> Iterator[tuple[Tensor, Tensor]]:
    """This rank's share, some at a time."""
    own = rank_slice(np.arange(len(samples)), exchange.rank, exchange.world_size)
    draws = curriculum.generator(name, exchange.rank).initial_seed()
    parts = [(own[start : start + _PART], (draws, start)) for start in range(0, len(own), _PART)]
    for (rows, _), inputs in zip(parts, samples.inputs.in_parts(parts), strict=True):
        yield inputs, torch.from_numpy(samples.labels[rows])
        beat()
