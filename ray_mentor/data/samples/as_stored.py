"""Images as they are stored, for what is done to bytes before they are scaled."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Shaped
from torch import Tensor
from typing_extensions import override

from ray_mentor.data.samples.inputs import AbstractInputs
from ray_mentor.data.samples.rows import Rows
from ray_mentor.data.samples.wrapped import AbstractWrapped


@runtime_checkable
class Storing(Protocol):
    """Inputs that can be taken as they are stored: images (H, W, C)."""

    @property
    def stored_shape(self) -> tuple[int, ...]:
        """Of one row."""

    def stored(self, rows: Rows) -> Shaped[Tensor, "rows ..."]:
        """Those rows."""


class AsStored(AbstractWrapped):
    """Images, uint8 (C, H, W), larger than what the model is fed where they have a margin."""

    dtype = torch.uint8

    def __init__(self, inputs: AbstractInputs) -> None:
        assert isinstance(inputs, Storing)
        super().__init__(inputs)
        self._storing: Storing = inputs

    @property
    @override
    def shape(self) -> tuple[int, ...]:
        height, width, channels = self._storing.stored_shape
        return (channels, height, width)

    @override
    def take(self, rows: Rows) -> Shaped[Tensor, "rows channels height width"]:
        return self._storing.stored(rows).permute(0, 3, 1, 2)

    @override
    def select(self, rows: Rows) -> AsStored:
        return AsStored(self._inputs.select(rows))
