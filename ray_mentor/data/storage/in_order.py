"""Inputs of a user's own data set for whoever takes them in an order that is known beforehand."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from typing import Any

import numpy as np
from jaxtyping import Shaped
from torch import Tensor
from typing_extensions import override

from ray_mentor.data.samples.dataset_inputs import DatasetInputs
from ray_mentor.data.samples.inputs import AbstractInputs, Part
from ray_mentor.data.samples.rows import Rows
from ray_mentor.data.samples.wrapped import AbstractWrapped


@contextmanager
def in_order(inputs: AbstractInputs, parts: Iterable[Part]) -> Iterator[AbstractInputs]:
    """The inputs for whoever takes these parts, one by one: read ahead where they have readers, else as they are.

    Args:
        parts: may be endless; who takes their rows draws what they say.
    """
    if not isinstance(inputs, DatasetInputs) or inputs.readers == 0:
        yield inputs
        return
    parts, asked = itertools.tee(parts)
    stream: Any = inputs.in_parts(parts)
    with closing(stream):
        yield InOrder(inputs, asked, stream)


class InOrder(AbstractWrapped):
    """Inputs whose parts come in the order in which they will be taken."""

    def __init__(self, inputs: AbstractInputs, parts: Iterator[Part], stream: Iterator[Tensor]) -> None:
        super().__init__(inputs)
        self.dtype = inputs.dtype
        self._parts = parts
        self._stream = stream

    @override
    def take(self, rows: Rows) -> Shaped[Tensor, "rows ..."]:
        """Those rows, which must be the next part."""
        coming, _ = next(self._parts)
        if not np.array_equal(coming, rows):
            raise RuntimeError(f"rows {rows} are taken where {coming} were to be")
        return next(self._stream)

    @override
    def select(self, rows: Rows) -> AbstractInputs:
        return self._inputs.select(rows)
