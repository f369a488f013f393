"""What a student does that no influence can be found through, named, with what to do."""

from __future__ import annotations

import re
import traceback
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from ray_mentor.errors import UserError


@contextmanager
def operators_named() -> Iterator[None]:
    """Says which operator has no forward mode, and what to do.

    Raises:
        UserError: in place of PyTorch's NotImplementedError.
    """
    try:
        yield
    except NotImplementedError as error:
        raise UserError(f"estimator is 'jvp', but the student uses {_operator(error)}") from error


@contextmanager
def hooks_refused(estimator: str) -> Iterator[None]:
    """Says that there is no backward pass in which a hook on a tensor could change its gradient.

    Raises:
        UserError: in place of PyTorch's RuntimeError.
    """
    try:
        yield
    except RuntimeError as error:
        if "cannot register a hook" not in str(error):
            raise
        raise UserError(
            f"estimator is {estimator!r}, but the student registers a hook on a tensor's gradient, which is seen in a "
            "backward pass alone; give --estimator unrolled"
        ) from error


@contextmanager
def checkpointing_refused() -> Iterator[None]:
    """Activations that are computed again in the backward pass would be those of the student as it is by then.

    Raises:
        UserError: in place of PyTorch's RuntimeError.
    """
    try:
        with torch.autograd.graph.disable_saved_tensors_hooks(_CHECKPOINTED):
            yield
    except RuntimeError as error:
        if str(error) != _CHECKPOINTED:
            raise
        raise UserError(_CHECKPOINTED) from error


@contextmanager
def reentrant_refused() -> Iterator[None]:
    """A reentrant checkpoint knows no gradient but into ``.grad``.

    Raises:
        UserError: in place of PyTorch's RuntimeError.
    """
    try:
        yield
    except RuntimeError as error:
        if "use_reentrant=True" not in str(error):
            raise
        raise UserError(
            "the student checkpoints activations with use_reentrant=True, through which no gradient can be asked for "
            "but by backward(); give torch.utils.checkpoint use_reentrant=False"
        ) from error


_CHECKPOINTED = (
    "estimator is 'unrolled', but the student checkpoints activations, or has other hooks on what it saves for the "
    "backward pass; switch that off, or give another estimator: --estimator jvp"
)


def _operator(error: NotImplementedError) -> str:
    """The operator as PyTorch's message names it, or the custom function, which it does not name; and what to do."""
    named = re.search(r"forward AD with (\S+)", str(error))
    functions = [
        frame.f_locals["self"]._forward_cls.__name__
        for frame, _ in traceback.walk_tb(error.__traceback__)
        if frame.f_code.co_name == "apply_jvp"
    ]
    if functions and not named:
        return (
            f"{functions[-1]}, a torch.autograd.Function without jvp; give it one, or another estimator: "
            "--estimator unrolled (not finite_difference, which takes no notice of a backward of one's own)"
        )
    return (
        f"{named.group(1) if named else f'an operator ({error})'}, which has no forward mode; give another: "
        "--estimator finite_difference; or, where gradients are stopped (detach, no_grad) in student or loss, unrolled"
    )
