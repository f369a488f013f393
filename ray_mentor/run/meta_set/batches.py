"""Meta batches, each rank its share."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from ray_mentor.core.batch import MetaBatch
from ray_mentor.core.domains.windows import largest_remainder
from ray_mentor.core.exchange import AbstractExchange
from ray_mentor.data.plan.batches import meta_batch, rank_slice
from ray_mentor.data.samples.draws import META
from ray_mentor.data.samples.inputs import Part
from ray_mentor.data.samples.rows import Rows
from ray_mentor.data.samples.samples import Samples


class MetaBatches:
    """This rank's share of the n-th meta batch; the next ones are read ahead where the samples have readers.

    Of several targets it holds as many samples of each as its weight says, and at least one. What these whole numbers
    are off by is made up for by what each sample counts for, so that M is Σ_t weight_t · (mean loss of t's samples).

    Args:
        samples: those that the meta set is made of.
        size: of a meta batch over all ranks, if there are so many.
    """

    def __init__(
        self, samples: Samples, size: int, seed: int, exchange: AbstractExchange, device: torch.device
    ) -> None:
        self.samples = samples
        self.exchange = exchange
        self._size = max(size, exchange.world_size)
        self._seed = seed
        self._device = device
        self.begin_anew()

    @property
    def rows(self) -> Rows:
        """Of the samples, those in the meta set."""
        return np.arange(len(self.samples))

    def begin_anew(self) -> None:
        """Forgets what was read ahead: the meta set is another one."""
        self._next = -1
        self._ahead: Iterator[Tensor] = iter(())

    def __call__(self, update: int) -> MetaBatch:
        rows = self._rows(update)
        own = self._own(rows)
        inputs, labels = self._inputs(update), self.samples.for_loss(own)
        weights = None if self._counts is None else self._weights(own).to(self._device)
        return MetaBatch(inputs.to(self._device), labels.to(self._device), len(rows), weights)

    def _inputs(self, update: int) -> Tensor:
        if self._next < 0:  # where a run goes on
            self._next = update
            self._ahead = self.samples.inputs.in_parts(map(self._part, itertools.count(update)))
        if update != self._next:  # a gradient rule counts steps
            return next(self.samples.inputs.in_parts([self._part(update)]))
        self._next += 1
        return next(self._ahead)

    def _part(self, update: int) -> Part:
        return self._own(self._rows(update)), (self._seed, META, update, self.exchange.rank)

    def _rows(self, update: int) -> Rows:
        rows, targets = self.rows, self.samples.domains
        if targets is None or self._counts is None:
            return rows[meta_batch(len(rows), self._size, self._seed, update)]
        drawn = zip(targets.rows, self._counts.tolist(), strict=True)
        return np.concatenate(
            [_drawn(own, count, (self._seed, place), update) for place, (own, count) in enumerate(drawn)]
        )

    @property
    def _counts(self) -> Rows | None:
        """Samples of each target in a meta batch; None where there is one target."""
        targets = self.samples.domains
        if targets is None or targets.weights is None:
            return None
        return np.maximum(largest_remainder(np.array(targets.weights), min(self._size, len(self.rows))), 1)

    def _weights(self, rows: Rows) -> Tensor:
        """What each of these counts for: its target's weight over its share of the meta batch."""
        targets, counts = self.samples.domains, self._counts
        assert targets is not None
        assert counts is not None
        return torch.from_numpy((np.array(targets.weights) * counts.sum() / counts)[targets.of[rows]])

    def _own(self, rows: Rows) -> Rows:
        return np.sort(rank_slice(rows, self.exchange.rank, self.exchange.world_size))


def of_each_target(
    samples: Samples, size: int, seed: int, exchange: AbstractExchange, device: torch.device
) -> list[tuple[MetaBatches, float]]:
    """Meta batches of each target by itself, and its weight; of one target, its own.

    Args:
        size: of a batch of each, over all ranks.
    """
    targets = samples.domains
    if targets is None or targets.weights is None:
        return [(MetaBatches(samples, size, seed, exchange, device), 1.0)]
    return [
        (MetaBatches(_alone(samples.select(rows)), size, _seed_of(seed, place), exchange, device), weight)
        for place, (rows, weight) in enumerate(zip(targets.rows, targets.weights, strict=True))
    ]


def _alone(samples: Samples) -> Samples:
    return dataclasses.replace(samples, domains=None)


def _drawn(rows: Rows, count: int, seed: tuple[int, int], update: int) -> Rows:
    """``count`` of a target's rows; all of them, some more often, where it has fewer."""
    own = rows[meta_batch(len(rows), count, _seed_of(*seed), update)]
    return np.resize(own, count)


def _seed_of(seed: int, place: int) -> int:
    """Each target draws samples of its own."""
    return int(np.random.SeedSequence([seed, place]).generate_state(1)[0])
