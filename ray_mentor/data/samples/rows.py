"""Arrays whose rows are somewhere else than in memory, as far as the inputs of a data set need them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

Rows = NDArray[np.int64]

VALUES, CONTENT, MOMENTS = "values", "content", "moments"
"""What is kept of an array: its rows, the digest of each, and sums that statistics are made of."""


class AbstractRows(ABC):
    """Rows of equal shape; a choice of them is another such array, without a copy.

    Attributes:
        shape: (rows, ...).
        dtype: of the values.
    """

    shape: tuple[int, ...]
    dtype: np.dtype[Any]

    def __len__(self) -> int:
        return self.shape[0]

    @property
    def ndim(self) -> int:
        """Of the shape."""
        return len(self.shape)

    def open(self) -> Any:  # noqa: B027 - not all lack something
        """Gets what this machine lacks to read rows."""

    @abstractmethod
    def __getitem__(self, rows: Rows | slice) -> NDArray[Any]:
        """A copy of those rows, which the caller owns."""

    @abstractmethod
    def beside(self, name: str, rows: Rows | slice = slice(None)) -> NDArray[Any]:
        """What is known of those rows besides their values."""

    @abstractmethod
    def select(self, rows: Rows) -> Self:
        """Those rows, in that order."""

    @abstractmethod
    def repeat(self, repeats: int, axis: int) -> Self:
        """As numpy's, along the last axis alone."""
