"""How many threads a student's operations are worth: those of a small one wait for each other longer than they work."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

SMALL = 2**24
"""Multiplications of a forward pass. With fewer, a second core made a step shorter by a tenth at most where nothing
else ran, and nine times longer on cores with other work (LOG.md)."""


@contextmanager
def threads_for(student: nn.Module, shape: Sequence[int], batch_size: int, positions: float = 1.0) -> Iterator[None]:
    """Within, PyTorch works on one thread if the student is small.

    ``OMP_NUM_THREADS``, where it is set, is what the user wants, and nothing changes.

    Args:
        shape: of an input; an image's is (channels, height, width).
        batch_size: samples of a step.
        positions: of an input, see :func:`multiplications`.
    """
    before = torch.get_num_threads()
    if (
        before == 1
        or "OMP_NUM_THREADS" in os.environ
        or multiplications(student, shape, positions) * batch_size > SMALL
    ):
        yield
        return
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def multiplications(student: nn.Module, shape: Sequence[int], positions: float = 1.0) -> int:
    """Of a forward pass of one sample, roughly: linear layers use params once, others, on an image, once a pixel.

    Args:
        positions: tokens of a text, on each of which linear layers work; params that are looked up do no work then.
    """
    pixels = math.prod(shape[1:]) if len(shape) == _IMAGE else 1
    once = sum(_params(module) for module in student.modules() if isinstance(module, nn.Linear))
    kinds = (nn.Embedding,) if positions > 1 else ()
    looked_up = sum(_params(module) for module in student.modules() if isinstance(module, kinds))
    return round(positions * once) + pixels * (_params(student) - once - looked_up)


@torch.no_grad()
def counted_multiplications(student: nn.Module, inputs: Tensor) -> float:
    """Of a forward pass of one sample, as they are done: counted by PyTorch in a pass of all inputs.

    Those of convolutions, linear layers and attention; 0 where a student has none, or runs compiled code.

    Args:
        student: in the state in which it is wanted; its batch norms may move.
    """
    with FlopCounterMode(display=False) as count:
        student(inputs)
    return float(count.get_total_flops()) / _FLOPS / len(inputs)


_FLOPS = 2  # a multiplication and an addition


def _params(module: nn.Module) -> int:
    return sum(param.numel() for param in module.parameters())


_IMAGE = 3  # dimensions
