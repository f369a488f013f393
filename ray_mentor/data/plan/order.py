"""In which order an epoch goes through the training samples: pure functions of seed and epoch."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

import numpy as np
from typing_extensions import override

from ray_mentor.data.samples.rows import Rows

_EPOCH, _WINDOWS = 101, 103  # keep the streams of one seed apart


class AbstractOrder(ABC):
    """All rows of a data set once, in an order of its own for each seed and epoch."""

    @abstractmethod
    def __len__(self) -> int: ...

    @abstractmethod
    def windows(self, seed: int, epoch: int) -> list[Rows]:
        """The epoch's rows, cut into stretches: rows of one are wanted before any of the next."""

    def rows(self, seed: int, epoch: int) -> Rows:
        """The epoch's rows."""
        return np.concatenate(self.windows(seed, epoch))


@dataclass(frozen=True)
class Shuffled(AbstractOrder):
    """Every row may come anywhere: one window of all n rows."""

    n: int

    @override
    def __len__(self) -> int:
        return self.n

    @override
    def windows(self, seed: int, epoch: int) -> list[Rows]:
        return [np.random.default_rng([seed, _EPOCH, epoch]).permutation(self.n)]


@dataclass(frozen=True, eq=False)
class Windowed(AbstractOrder):
    """Shuffled as far as a bounded part of the data allows, for data that is read stretch by stretch.

    The stretches come in random order. As many in a row as have no more than ``shuffle_rows`` rows together (or one
    that alone has more) are a window, and a window's rows come in random order.

    Args:
        sizes: int64 (k,), rows of each stretch; the first has rows 0, 1, ..., sizes[0] − 1.
        shuffle_rows: of a window, at most.
    """

    sizes: Rows
    shuffle_rows: int

    @override
    def __len__(self) -> int:
        return int(self.sizes.sum())

    @property
    def largest(self) -> int:
        """Rows that a window can have."""
        return max(min(self.shuffle_rows, len(self)), int(self.sizes.max()))

    @override
    def windows(self, seed: int, epoch: int) -> list[Rows]:
        draw = np.random.default_rng([seed, _WINDOWS, epoch])
        starts = np.cumsum(self.sizes) - self.sizes
        turns = draw.permutation(len(self.sizes))
        filled = np.split(turns, self._first_turns(self.sizes[turns])[1:])
        rows = [[np.arange(starts[turn], starts[turn] + self.sizes[turn]) for turn in window] for window in filled]
        return [draw.permutation(np.concatenate(window)) for window in rows]

    def _first_turns(self, sizes: Rows) -> list[int]:
        """Where windows begin among stretches of these sizes."""
        first, room = [], -1
        for turn, size in enumerate(sizes.tolist()):
            if size > room:
                first.append(turn)
                room = self.shuffle_rows
            room -= size
        return first
