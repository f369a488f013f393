"""A student of the user's own function: ``FILE.py:FUNCTION`` or ``MODULE:FUNCTION``.

A file travels with the job, as its source, so that machines that lack it can build the student, too; what it imports
must be there. A module is imported wherever the student is built.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable
from typing import Any

from torch import nn

from ray_mentor import functions
from ray_mentor.errors import UserError, shown
from ray_mentor.functions import explained, named_function

_KIND = "student"
_EXAMPLE = "def student(input_shape, n_classes): ... returns a torch.nn.Module"


def source_of(name: str) -> bytes | None:
    """What the function's file holds; None of a module's.

    Raises:
        UserError: no such file.
    """
    return functions.source_of(name, _KIND)


def check(name: str, source: bytes | None) -> None:
    """Finds the function, without calling it.

    Raises:
        UserError: there is none, or its file or module can't be loaded.
    """
    _function(name, source)


def build(name: str, source: bytes | None, input_shape: tuple[int, ...], n_classes: int) -> nn.Module:
    """What the function returns for ``input_shape`` and ``n_classes``, which it takes in this order, or by these names.

    Args:
        source: of its file, which need not be there.

    Raises:
        UserError: it fails, takes something else, or returns no module.
    """
    function = _function(name, source)
    named = {"input_shape": input_shape, "n_classes": n_classes}
    with explained(f"student {shown(name)} fails"):
        made = function(**named) if _takes(function, named) else function(input_shape, n_classes)
    if not isinstance(made, nn.Module):
        raise UserError(f"student {shown(name)} returns {shown(made)}, but it must return a torch.nn.Module; mend it")
    return _with_logits(made, input_shape)


def _with_logits(made: nn.Module, input_shape: tuple[int, ...]) -> nn.Module:
    """The same; one of Hugging Face's returns its logits."""
    if "transformers" not in sys.modules:
        return made
    from ray_mentor.students import from_hf  # noqa: PLC0415 - loaded already, or it is none of theirs

    return from_hf.with_logits(made, input_shape) if from_hf.is_ones(made) else made


def _takes(function: Callable[..., Any], named: dict[str, Any]) -> bool:
    """Whether it knows these names; any others stand for the same, in this order."""
    try:
        inspect.signature(function).bind(**named)
    except (TypeError, ValueError):
        return False
    return True


def _function(name: str, source: bytes | None) -> Callable[..., Any]:
    return named_function(name, source, _KIND, _EXAMPLE)
