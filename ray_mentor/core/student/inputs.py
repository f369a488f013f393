"""What a student is called with stays as it is, for it may be passed again; and what a student is tried with."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from jaxtyping import Int
from torch import Tensor
from torch.utils._pytree import tree_leaves

from ray_mentor.core.batch import Arguments, Inputs
from ray_mentor.errors import UserError

Versions = list[int]
"""How often each tensor was written over, in the order in which they lie in the inputs."""


def versions_of(inputs: Inputs) -> Versions:
    """As PyTorch counts them, for nothing."""
    tensors = tree_leaves((inputs.positional, inputs.named)) if isinstance(inputs, Arguments) else [inputs]
    return [tensor._version for tensor in tensors if isinstance(tensor, Tensor) and not tensor.is_inference()]


def require_unwritten(inputs: Inputs, before: Versions) -> None:
    """Refuses inputs that were written over.

    Args:
        before: their versions when the student was called.

    Raises:
        UserError: naming what to do.
    """
    if versions_of(inputs) != before:
        raise UserError(
            "the student's inputs were written over, in its forward pass or right after, but they are passed through "
            "it again, for influences and mixed batches; let its forward begin with x = x.clone(), or work out of place"
        )


@contextmanager
def unwritten(inputs: Inputs) -> Iterator[None]:
    """The forward pass in this block leaves its inputs as they are.

    Raises:
        UserError: after it, if not.
    """
    before = versions_of(inputs)
    yield
    require_unwritten(inputs, before)


def no_padding(shape: tuple[int, ...], padding: int | None) -> Int[Tensor, ...]:
    """int64 ids of this shape, none of which is ``padding``: a model sees all of them."""
    return torch.full(shape, 0 if padding == 1 else 1)
