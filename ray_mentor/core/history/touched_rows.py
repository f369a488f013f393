"""Which rows of a table were written to since somebody last asked."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

_STRIDE = 1 << 20  # bytes of bits that are looked at together


class TouchedRows:
    """A bit a row.

    Args:
        n: rows of the table, at most 2^32.
    """

    def __init__(self, n: int) -> None:
        self._bits = np.zeros(-(-n // 8), np.uint8)

    def __len__(self) -> int:
        """How many rows were written to."""
        return int(np.bitwise_count(self._bits).sum())

    def add(self, rows: NDArray[np.int64]) -> None:
        """Takes down that these were written to; each may come any number of times."""
        np.bitwise_or.at(self._bits, rows >> 3, np.left_shift(1, rows & 7).astype(np.uint8))

    def add_all(self, other: TouchedRows) -> None:
        """Takes down the rows of another set for the same table."""
        self._bits |= other._bits

    def rows(self) -> NDArray[np.uint32]:
        """The rows that were written to, in order, each once."""
        found: list[NDArray[Any]] = [np.empty(0, np.uint32)]
        for start in range(0, len(self._bits), _STRIDE):
            bits = np.unpackbits(self._bits[start : start + _STRIDE], bitorder="little")
            found.append(np.flatnonzero(bits).astype(np.uint32) + np.uint32(8 * start))
        return np.concatenate(found)

    def forget(self) -> None:
        """Begins anew."""
        self._bits[:] = 0
