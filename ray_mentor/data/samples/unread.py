"""Inputs that nobody asks for: what samples are called, and their labels, are known without them."""

from __future__ import annotations

import numpy as np
from jaxtyping import Shaped
from numpy.typing import NDArray
from torch import Tensor
from typing_extensions import override

from ray_mentor.data.samples.inputs import DIGEST_BYTES, AbstractInputs
from ray_mentor.data.samples.rows import Rows


class Unread(AbstractInputs):
    """Each counts as unlike all others.

    Args:
        numbers: int64 (N,), of the samples; no other split has them.
    """

    shape = ()

    def __init__(self, numbers: Rows) -> None:
        self.numbers = numbers

    @override
    def __len__(self) -> int:
        return len(self.numbers)

    @override
    def take(self, rows: Rows) -> Shaped[Tensor, "rows ..."]:
        raise NotImplementedError

    @override
    def select(self, rows: Rows) -> Unread:
        return Unread(self.numbers[rows])

    @override
    def content_hashes(self) -> NDArray[np.bytes_]:
        return np.char.zfill(self.numbers.astype(f"S{DIGEST_BYTES}"), DIGEST_BYTES)
