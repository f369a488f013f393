"""From rows of a plan to what a step is given."""

from __future__ import annotations

import torch

from ray_mentor.core.batch import Batch
from ray_mentor.core.exchange import AbstractExchange
from ray_mentor.data.plan.batches import rank_sizes, rank_slice
from ray_mentor.data.samples.draws import drawn_from
from ray_mentor.data.samples.rows import Rows
from ray_mentor.data.samples.samples import Samples


def batch_of(samples: Samples, global_rows: Rows, exchange: AbstractExchange, draws: tuple[int, ...]) -> Batch:
    """This rank's share of the global batch of these rows.

    Args:
        draws: what random transforms draw depends on, beside the rank.
    """
    rows = rank_slice(global_rows, exchange.rank, exchange.world_size)
    truth = None if samples.true_labels is None else torch.from_numpy(samples.true_labels[rows])
    with drawn_from((*draws, exchange.rank), samples.inputs):
        inputs = samples.inputs.take(rows)
    return Batch(
        rows=torch.from_numpy(rows.copy()),
        ids=torch.from_numpy(samples.ids[rows]),
        inputs=inputs,
        labels=samples.for_loss(rows),
        true_labels=truth,
        groups=None if samples.groups is None else torch.from_numpy(samples.groups.of[rows]),
        rank_sizes=tuple(rank_sizes(len(global_rows), exchange.world_size)),
        all_rows=global_rows,
    )
