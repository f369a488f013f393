"""An exponential average of a student's params, as it is trained."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from ray_mentor.core.student.copies import copy_into, named_copies


class Average:
    """θ̄ ← d·θ̄ + (1 − d)·θ after each step t = 1, 2, ..., d = min(decay, (1 + t)/(10 + t)) (Polyak & Juditsky 1992).

    The bound lets the first steps count for less. Buffers of floats (a batch norm's statistics) are averaged as well;
    others, as counts, are the student's.

    Args:
        student: bare; the average begins as it is.
        decay: in (0, 1).
    """

    def __init__(self, student: nn.Module, decay: float) -> None:
        self._decay = decay
        self.values = named_copies(student.state_dict())

    @torch.no_grad()
    def update(self, student: nn.Module, step: int) -> None:
        """Takes in the student after its step of this number, from 1 on."""
        decay = min(self._decay, (1 + step) / (10 + step))
        now = student.state_dict()
        floats = [name for name, value in self.values.items() if value.is_floating_point() or value.is_complex()]
        torch._foreach_lerp_([self.values[name] for name in floats], [now[name] for name in floats], 1 - decay)
        others = self.values.keys() - floats
        copy_into([self.values[name] for name in others], [now[name] for name in others])

    def load(self, values: Mapping[str, Tensor]) -> None:
        """Goes on from there."""
        copy_into([self.values[name] for name in values], list(values.values()))

    @contextmanager
    def in_place_of(self, student: nn.Module) -> Iterator[None]:
        """Within, the student has the average's params and buffers; afterwards its own, bit for bit."""
        own = named_copies(student.state_dict())
        student.load_state_dict(self.values)
        try:
            yield
        finally:
            student.load_state_dict(own)
