"""Token ids of many texts, one after the other, however long each is."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from typing_extensions import override

from ray_mentor.data.samples.rows import Rows

Ids = NDArray[np.int32]


@dataclass(frozen=True, eq=False)
class Some:
    """The ids of some texts in order: those of text i are ``values[ends[i]:ends[i + 1]]``."""

    ends: NDArray[np.int64]
    values: Ids

    @classmethod
    def of(cls, ids: Sequence[Sequence[int]]) -> Some:
        """Of each text's ids."""
        ends = np.cumsum([0, *map(len, ids)])
        values = np.fromiter((each for part in ids for each in part), np.int32, int(ends[-1]))
        return cls(ends, values)

    def __len__(self) -> int:
        return len(self.ends) - 1


class AbstractRagged(ABC):
    """Token ids by row, in memory or in a file."""

    @abstractmethod
    def open(self) -> Ragged:
        """As they can be read."""


class Ragged(AbstractRagged):
    """Token ids by row, in parts."""

    def __init__(self, parts: Iterable[Some]) -> None:
        self.parts = tuple(parts)
        self._firsts = np.cumsum([0, *map(len, self.parts)])

    def __len__(self) -> int:
        return int(self._firsts[-1])

    @override
    def open(self) -> Ragged:
        return self

    def lengths(self) -> NDArray[np.int64]:
        """How many ids each row has."""
        return np.concatenate([np.zeros(0, np.int64), *(np.diff(part.ends) for part in self.parts)])

    def padded(self, rows: Rows, pad: int) -> NDArray[np.int64]:
        """(rows, longest of them): each row's ids, and ``pad`` behind them."""
        found = [self._row(int(row)) for row in rows]
        padded = np.full((len(found), max(map(len, found), default=0)), pad, np.int64)
        for place, ids in enumerate(found):
            padded[place, : len(ids)] = ids
        return padded

    def _row(self, row: int) -> Ids:
        part = int(np.searchsorted(self._firsts, row, side="right")) - 1
        some, place = self.parts[part], row - int(self._firsts[part])
        return some.values[some.ends[place] : some.ends[place + 1]]
