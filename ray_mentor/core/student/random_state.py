"""The state of the global generators: taken down, replayed, put back."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor


@dataclass(frozen=True)
class RandomState:
    """PyTorch's default generators of the CPU and of the student's device, NumPy's and Python's global ones."""

    cpu: Tensor
    cuda: Tensor | None
    device: torch.device
    numpy: dict[str, Any]
    python: tuple[Any, ...]

    @staticmethod
    def now(device: torch.device) -> RandomState:
        """The state at this moment."""
        cuda = torch.cuda.get_rng_state(device) if device.type == "cuda" else None
        numpy = np.random.get_state(legacy=False)  # noqa: NPY002 - what a student may draw from
        return RandomState(torch.get_rng_state(), cuda, device, numpy, random.getstate())

    def put_back(self) -> None:
        """Makes the generators go on from here."""
        torch.set_rng_state(self.cpu)
        if self.cuda is not None:
            torch.cuda.set_rng_state(self.cuda, self.device)
        np.random.set_state(self.numpy)  # noqa: NPY002
        random.setstate(self.python)


@contextmanager
def untouched(device: torch.device) -> Iterator[None]:
    """Whatever a block draws, the generators end as they began."""
    state = RandomState.now(device)
    try:
        yield
    finally:
        state.put_back()
