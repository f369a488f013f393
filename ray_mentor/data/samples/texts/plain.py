"""Windows of plain text: what a student is fed that says which byte comes next."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from jaxtyping import UInt8
from numpy.typing import NDArray
from torch import Tensor
from typing_extensions import override

from ray_mentor.data.samples.inputs import AbstractArrayInputs, Scale, Values
from ray_mentor.data.samples.rows import Rows
from ray_mentor.data.samples.samples import Samples
from ray_mentor.data.samples.texts.inputs import AbstractTexts

BYTES = 256
"""Values that a byte can have, each of which a student has a logit for."""


class ByteInputs(AbstractArrayInputs, AbstractTexts):
    """Windows of plain text, uint8 (N, T); the model is fed the bytes as they are."""

    dtype = torch.uint8
    column = "text"

    def __init__(self, values: Values, scale: Scale | None = None) -> None:
        assert values.ndim == 2
        assert values.dtype == np.uint8
        super().__init__(values, scale)

    @property
    @override
    def shape(self) -> tuple[int, ...]:
        return (self.values.shape[1],)

    @property
    @override
    def positions(self) -> float:
        return float(self.values.shape[1])

    @override
    def fed(self, values: Tensor) -> UInt8[Tensor, "rows places"]:
        return values

    @override
    def statistics(self) -> Scale:
        return self.scale  # letters are no amounts

    @override
    def texts(self, rows: Rows, most: int | None = None) -> list[str]:
        found = [self.values[row].tobytes().decode(errors="replace") for row in rows]
        return found if most is None else [" ".join(text.split())[:most] for text in found]

    @staticmethod
    @override
    def _content(values: NDArray[Any]) -> NDArray[Any]:
        return values


def window_bytes(samples: Samples) -> int | None:
    """Bytes of a sample, each of which is learnt from: of plain text; None of samples of anything else."""
    return samples.inputs.shape[0] if isinstance(samples.inputs, ByteInputs) else None
