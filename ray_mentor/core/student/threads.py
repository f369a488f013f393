"""How many threads a student's operations are worth: those of a small one wait for each other longer than they work."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import nn

SMALL = 2**24
"""Multiplications of a forward pass. With fewer, a second core made a step shorter by a tenth at most where nothing
else ran, and nine times longer on cores with other work (LOG.md)."""


@contextmanager
def threads_for(student: nn.Module, shape: Sequence[int], batch_size: int) -> Iterator[None]:
    """Within, PyTorch works on one thread if the student is small.

    ``OMP_NUM_THREADS``, where it is set, is what the user wants, and nothing changes.

    Args:
        shape: of an input; an image's is (channels, height, width).
        batch_size: samples of a step.
    """
    before = torch.get_num_threads()
    if before == 1 or "OMP_NUM_THREADS" in os.environ or multiplications(student, shape) * batch_size > SMALL:
        yield
        return
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def multiplications(student: nn.Module, shape: Sequence[int]) -> int:
    """Of a forward pass of one sample, roughly: linear layers use params once, others, on an image, once a pixel."""
    pixels = math.prod(shape[1:]) if len(shape) == _IMAGE else 1
    once = sum(_params(module) for module in student.modules() if isinstance(module, nn.Linear))
    return once + pixels * (_params(student) - once)


def _params(module: nn.Module) -> int:
    return sum(param.numel() for param in module.parameters())


_IMAGE = 3  # dimensions
