"""Which samples a batch holds: pure functions of seed and position, so that a run resumes inside an epoch exactly."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from ray_mentor.data.plan.order import AbstractOrder
from ray_mentor.data.samples.rows import Rows

_META = 102  # keeps its stream of a seed apart from those of the orders


def epoch_batches(order: AbstractOrder, batch_size: int, seed: int, epoch: int) -> list[Rows]:
    """All n rows once, in the epoch's order, in ⌈n / batch_size⌉ batches whose sizes differ by at most 1.

    Even sizes rather than a small last batch: a batch of one sample breaks batch norm, and its one
    sample weight would count as much as all those of a full batch.
    """
    assert len(order) > 0
    assert batch_size > 0
    return np.array_split(order.rows(seed, epoch), -(-len(order) // batch_size))


@dataclass(frozen=True)
class Plan:
    """All batches of a run, in order: a function of the settings, so that a run goes on from any step.

    Args:
        order: of the training samples, in each epoch.
        batch_size: of the global batch.
    """

    order: AbstractOrder
    batch_size: int
    seed: int
    epochs: int

    @property
    def epoch_steps(self) -> int:
        """Steps of an epoch."""
        return -(-len(self.order) // self.batch_size)

    @property
    def total_steps(self) -> int:
        """Steps of the run."""
        return self.epochs * self.epoch_steps

    def steps(self, first: int = 0) -> Iterator[tuple[int, Rows, bool]]:
        """From step ``first`` on: the epoch, the rows of the global batch, and whether the epoch ends with them."""
        start, done = divmod(first, self.epoch_steps)
        for epoch in range(start, self.epochs):
            batches = epoch_batches(self.order, self.batch_size, self.seed, epoch)
            for rows in batches[done:]:
                yield epoch, rows, rows is batches[-1]
            done = 0


def rank_sizes(n: int, world_size: int) -> list[int]:
    """How many of n rows each rank gets: near-equal, the first ranks one more."""
    share, rest = divmod(n, world_size)
    return [share + (rank < rest) for rank in range(world_size)]


def rank_slice(batch: Rows, rank: int, world_size: int) -> Rows:
    """A rank's contiguous share of a batch; the slices of all ranks, joined, are the batch."""
    sizes = rank_sizes(len(batch), world_size)
    start = sum(sizes[:rank])
    return batch[start : start + sizes[rank]]


def meta_batch(n: int, size: int, seed: int, update: int) -> Rows:
    """Rows of the meta batch of the update-th meta update (counted from 0): min(n, size) different rows.

    ⌊n / size⌋ batches are cut from each shuffled pass over the meta set; what is left over of a
    pass is skipped, so that every batch has the same size and no row twice.
    """
    assert n > 0
    assert size > 0
    size = min(n, size)
    turn, position = divmod(update, n // size)
    order = np.random.default_rng([seed, _META, turn]).permutation(n)
    return order[position * size : (position + 1) * size]
