"""Two students in one module, for methods in which they teach each other."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from ray_mentor.errors import UserError, shown


class Pair(nn.Module):
    """Two students side by side: whatever wraps, moves, steps, measures or saves a student does so with both.

    In training it returns the logits of both, (batch, 2, classes). In evaluation it is one student, whose outputs are
    the logarithm of the mean of both probabilities, (batch, classes): log ½(softmax z₁ + softmax z₂).

    Args:
        first: begins as the student of a method that has but one.
        second: of the same kind, with other params.

    Raises:
        UserError: in a forward pass, a student whose outputs are no logits.
    """

    def __init__(self, first: nn.Module, second: nn.Module) -> None:
        super().__init__()
        self.first = first
        self.second = second

    def forward(self, *positional: Any, **named: Any) -> Float[Tensor, "batch ... classes"]:
        both = torch.stack([_logits(each(*positional, **named)) for each in (self.first, self.second)], dim=1)
        if self.training:
            return both
        return torch.logsumexp(torch.log_softmax(both, dim=2), dim=1) - math.log(2)


def pair_of(build: Callable[[], nn.Module]) -> Pair:
    """Two fresh students, drawn one after the other from PyTorch's global random state.

    Raises:
        UserError: the second is like the first, and would stay so: each would learn from itself.
    """
    pair = Pair(build(), build())
    both = zip(pair.first.parameters(), pair.second.parameters(), strict=True)
    if all(torch.equal(one, other) for one, other in both):
        raise UserError(
            "the two students that were built have the same params, so that neither could teach the other anything; "
            "leave the seed alone where the student is built: the run sets it"
        )
    return pair


def members_of(student: nn.Module) -> dict[str, nn.Module]:
    """The students of a pair, by what they are called; none of a student that is no pair."""
    return {"first": student.first, "second": student.second} if isinstance(student, Pair) else {}


def _logits(outputs: Any) -> Float[Tensor, "batch classes"]:
    if isinstance(outputs, Tensor) and outputs.ndim == 2 and outputs.shape[1] > 1:
        return outputs
    found = tuple(outputs.shape) if isinstance(outputs, Tensor) else outputs
    raise UserError(
        f"the student returns {shown(found)}, but where two students are trained it must be logits, of shape (batch, "
        "classes); let its forward return them, or take a method of one student"
    )
