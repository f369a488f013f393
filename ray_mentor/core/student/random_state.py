"""The state of torch's generators: taken down, replayed, put back."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class RandomState:
    """The default generators of the CPU and of the student's device."""

    cpu: Tensor
    cuda: Tensor | None
    device: torch.device

    @staticmethod
    def now(device: torch.device) -> RandomState:
        """The state at this moment."""
        cuda = torch.cuda.get_rng_state(device) if device.type == "cuda" else None
        return RandomState(torch.get_rng_state(), cuda, device)

    def put_back(self) -> None:
        """Makes the generators go on from here."""
        torch.set_rng_state(self.cpu)
        if self.cuda is not None:
            torch.cuda.set_rng_state(self.cuda, self.device)


@contextmanager
def untouched(device: torch.device) -> Iterator[None]:
    """Whatever a block draws, the generators end as they began."""
    state = RandomState.now(device)
    try:
        yield
    finally:
        state.put_back()
