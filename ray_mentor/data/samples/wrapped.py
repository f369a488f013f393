"""Inputs that are others', taken in another way."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from typing_extensions import override

from ray_mentor.data.samples.inputs import AbstractInputs


class AbstractWrapped(AbstractInputs):
    """As many inputs, of the same shape and content, as those they are made of."""

    def __init__(self, inputs: AbstractInputs) -> None:
        self._inputs = inputs

    @override
    def __len__(self) -> int:
        return len(self._inputs)

    @property
    @override
    def shape(self) -> tuple[int, ...]:
        return self._inputs.shape

    @override
    def content_hashes(self) -> NDArray[np.bytes_]:
        return self._inputs.content_hashes()
