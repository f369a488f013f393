"""A student's buffers, left as they are by forward passes that are no training."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn


@contextmanager
def kept_buffers(student: nn.Module) -> Iterator[None]:
    """Whatever a block does to the student's buffers, they end as they began."""
    kept = [(buffer, buffer.detach().clone()) for buffer in student.buffers()]
    try:
        yield
    finally:
        with torch.no_grad():
            for buffer, value in kept:
                buffer.copy_(value)
