"""Inputs that a trained student has not seen: of any format, streamed, with labels only where they are asked for."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from typing_extensions import override

from ray_mentor.data.samples.texts.tokens import Tokens
from ray_mentor.errors import UserError, listed, shown

Values = NDArray[Any]
"""Raw inputs: uint8 (some, H, W, C), float32 (some, F), or token ids (some, longest of them)."""


@dataclass(frozen=True)
class Known:
    """What a student was trained on, which new inputs have to fit.

    Attributes:
        classes: in order.
        shape: of one model input: (C, H, W) of images, else (F,).
        features: names of the features; none of images, or where they have none.
        resize: what the shorter side of images is resized to before their middle is cropped; None: they must have the
            size of ``shape``.
        tokens: what makes token ids of texts; None of a student of others.
    """

    classes: tuple[str, ...]
    shape: tuple[int, ...]
    features: tuple[str, ...] = ()
    resize: int | None = None
    tokens: Tokens | None = None

    @property
    def are_images(self) -> bool:
        """Rather than features."""
        return len(self.shape) > 1

    def __str__(self) -> str:
        if self.tokens is not None:
            return "texts"
        if not self.are_images:
            return f"{self.shape[0]} features"
        channels, height, width = self.shape
        size = "any size" if self.resize else f"{width}×{height} (width×height)"
        return f"{'grey' if channels == 1 else 'colour'} images of {size}"


@dataclass(frozen=True, eq=False)
class Part:
    """Some new inputs in order, without those that are left out because they can't be read.

    Attributes:
        rows: int64 (n,), which they are.
        values: raw, as the student is fed them.
        stored: the same as a run holds them, of images with the margin that is cropped: what tells one from another.
        cut: of texts: how many were longer than they may be, since the part before.
    """

    rows: NDArray[np.int64]
    values: Values
    stored: Values
    cut: int = 0


class AbstractSource(ABC):
    """Where new inputs are read from, a few at a time. It can be pickled."""

    @abstractmethod
    def parts(self, start: int, stop: int) -> Iterator[Part]:
        """Rows [start, stop) in order, some hundreds or thousands at a time.

        Raises:
            UserError: what can't be read, naming file and row.
        """

    @abstractmethod
    def place(self, row: int) -> str:
        """How a message names a row."""


@dataclass(frozen=True, eq=False)
class New:
    """N new inputs.

    Attributes:
        source: of the inputs.
        ids: int64 (N,): of a column of ids, or row numbers.
        names: strings (N,), in place of ``ids`` where ids are strings.
        labels: int64 (N,), places in the student's classes; None where nobody asked for them.
        notes: what the user should be told.
    """

    source: AbstractSource
    ids: NDArray[np.int64]
    names: pa.LargeStringArray | None = None
    labels: NDArray[np.int64] | None = None
    notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.ids)


@dataclass(frozen=True, eq=False)
class InMemory(AbstractSource):
    """An array."""

    held: Values

    @override
    def parts(self, start: int, stop: int) -> Iterator[Part]:
        for first in range(start, stop, _ROWS):
            rows = np.arange(first, min(first + _ROWS, stop))
            yield Part(rows, self.held[rows], self.held[rows])

    @override
    def place(self, row: int) -> str:
        return f"row {row}"


_ROWS = 1024


def places_of(names: NDArray[np.str_] | list[str], known: Known, what: str) -> NDArray[np.int64]:
    """Where labels stand among the classes that a student knows.

    Args:
        what: they are labels of, for the error.

    Raises:
        UserError: a label that is none of them; names both.
    """
    places = {name: place for place, name in enumerate(known.classes)}
    distinct, inverse = np.unique(np.asarray(names, dtype=str), return_inverse=True)
    unknown = [str(name) for name in distinct if str(name) not in places]
    if unknown:
        raise UserError(
            f"{what} has labels that the student does not know: {listed(map(shown, unknown), 10)}; it was trained on "
            f"{listed(map(shown, known.classes), 10)}; leave those rows out, or mend them"
        )
    found: NDArray[np.int64] = np.array([places[str(name)] for name in distinct], np.int64)[inverse.reshape(-1)]
    return found
