"""A student of the user's own function: ``FILE.py:FUNCTION`` or ``MODULE:FUNCTION``.

A file travels with the job, as its source, so that machines that lack it can build the student, too; what it imports
must be there. A module is imported wherever the student is built.
"""

from __future__ import annotations

import functools
import inspect
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from torch import nn

from ray_mentor.errors import UserError, shown
from ray_mentor.functions import also_found_in, explained, function_of, imported, module_of, source_in

_KIND = "student"
_EXAMPLE = "def student(input_shape, n_classes): ... returns a torch.nn.Module"


def names_a_file(name: str) -> bool:
    """Whether the function lies in a file, rather than in a module."""
    return name.partition(".py")[1] == ".py" and (name.endswith(".py") or ".py:" in name)


def source_of(name: str) -> bytes | None:
    """What the function's file holds; None of a module's.

    Raises:
        UserError: no such file.
    """
    return source_in(_parts(name)[0], _KIND, "give FILE.py:FUNCTION") if names_a_file(name) else None


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


def _parts(name: str) -> tuple[Path, str]:
    place, _, function = name.rpartition(":")
    if not place or not function:
        raise UserError(f"student is {shown(name)}, but it must name a function; give {name.rstrip(':')}:FUNCTION")
    return Path(place), function


@functools.lru_cache(maxsize=8)
def _function(name: str, source: bytes | None) -> Callable[..., Any]:
    file, function = _parts(name)
    if source is not None:
        return function_of(module_of(source, file, _KIND), function, name, _KIND, _EXAMPLE)
    with also_found_in(os.getcwd()):
        return function_of(imported(str(file), _KIND), function, name, _KIND, _EXAMPLE)
