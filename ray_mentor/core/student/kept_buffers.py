"""A student's buffers, left as they are by forward passes that are no training."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from ray_mentor.core.student.copies import copies, copy_into


@contextmanager
def kept_buffers(student: nn.Module) -> Iterator[None]:
    """Whatever a block does to the student's buffers, they end as they began: the same tensors, of the same values.

    A forward pass may write into them, or put other tensors in their places.
    """
    places = [(module, name, buffer) for module in student.modules() for name, buffer in module._buffers.items()]
    buffers = list(student.buffers())
    values = copies(map(_once, buffers))
    try:
        yield
    finally:
        for module, name, buffer in places:
            module._buffers[name] = buffer
        copy_into([_once(buffer).detach() for buffer in buffers], values)  # by then they may lie elsewhere


@contextmanager
def kept_embeddings(student: nn.Module) -> Iterator[None]:
    """Rows that nn.Embedding cuts to its ``max_norm`` as they are looked up, in the param itself, end as they began."""
    cut = [
        (module.weight, module.weight.detach().clone())
        for module in student.modules()
        if isinstance(module, nn.Embedding | nn.EmbeddingBag) and module.max_norm is not None
    ]
    try:
        yield
    finally:
        with torch.no_grad():
            for weight, value in cut:
                weight.copy_(value)


def _once(tensor: Tensor) -> Tensor:
    """Each of an expanded tensor's elements in memory once; else the tensor itself. Only such can be written into."""
    if tensor.layout != torch.strided or 0 not in tensor.stride():
        return tensor
    return tensor[tuple(slice(0, 1) if stride == 0 else slice(None) for stride in tensor.stride())]
