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
    beside: Tensor | None
    device: torch.device
    numpy: dict[str, Any]
    python: tuple[Any, ...]

    @staticmethod
    def now(device: torch.device) -> RandomState:
        """The state at this moment."""
        beside = None if device.type in ("cpu", "meta") else torch.get_device_module(device).get_rng_state(device)
        numpy = np.random.get_state(legacy=False)  # noqa: NPY002 - what a student may draw from
        return RandomState(torch.get_rng_state(), beside, device, numpy, random.getstate())

    def put_back(self) -> None:
        """Makes the generators go on from here."""
        torch.set_rng_state(self.cpu)
        if self.beside is not None:
            torch.get_device_module(self.device).set_rng_state(self.beside, self.device)
        np.random.set_state(self.numpy)  # noqa: NPY002
        random.setstate(self.python)


def seed_generators(seed: int, device: torch.device) -> None:
    """Seeds the default generators of the CPU and of the student's device.

    ``torch.manual_seed`` seeds those of all kinds of devices there might be, which takes as long as a small step.
    """
    torch.default_generator.manual_seed(seed)
    if device.type not in ("cpu", "meta"):
        state = torch.Generator(device).manual_seed(seed).get_state()
        torch.get_device_module(device).set_rng_state(state, device)


@contextmanager
def untouched(device: torch.device) -> Iterator[None]:
    """Whatever a block draws, the generators end as they began."""
    state = RandomState.now(device)
    try:
        yield
    finally:
        state.put_back()
