"""A space as its function gives it: one that is shipped, of a module, or of a file."""

from __future__ import annotations

import difflib
import os
import pkgutil
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from ray_mentor.errors import UserError, listed, shown
from ray_mentor.functions import also_found_in, explained, function_of, imported, module_of, source_in

SHIPPED = "tune_spaces"
"""The package of the shipped spaces; found by name, since the package must do without it."""

_ROOT = str(Path(__file__).parents[3])  # in a source tree it lies there, whatever is installed
_FORMS = "give one of these, MODULE:FUNCTION or FILE.py[:FUNCTION]"
_FUNCTION, _KIND = "space", "space"


@dataclass(frozen=True)
class Given:
    """What a space's module holds, unchecked.

    Attributes:
        table: what its function returned.
        objective: its OBJECTIVE; None without.
        trials: its TRIALS; None without.
    """

    table: Any
    objective: Any
    trials: Any


def shipped_spaces() -> list[str]:
    """The names of the spaces that come with the package."""
    with also_found_in(_ROOT):
        package = imported(SHIPPED, _KIND)
    return sorted(module.name for module in pkgutil.iter_modules(package.__path__))


def read_space(name: str) -> Given:
    """Calls the function that ``name`` means: NAME of a shipped space, MODULE:FUNCTION, FILE.py or FILE.py:FUNCTION.

    Raises:
        UserError: a module, file or function that is not there, or that fails; the cause is kept.
    """
    if name.endswith(".py"):
        return _of_file(name, name, _FUNCTION)
    place, colon, function = name.rpartition(":")
    if place.endswith(".py"):
        return _of_file(name, place, function)
    with also_found_in(os.getcwd() if colon else _ROOT):
        return _given(name, imported(place, _KIND), function) if colon else _given(name, _shipped(name), _FUNCTION)


def _of_file(name: str, place: str, function: str) -> Given:
    file = Path(place)
    with also_found_in(str(file.parent.absolute())):
        shipped = f"shipped: {listed(shipped_spaces())}; {_FORMS}"
        return _given(name, module_of(source_in(file, _KIND, shipped), file, _KIND), function)


def _shipped(name: str) -> ModuleType:
    names = shipped_spaces()
    if name not in names:
        near = difflib.get_close_matches(name, names, n=1)
        guess = f" (nearest: {near[0]})" if near else ""
        raise UserError(f"unknown space {shown(name)}{guess}; shipped: {listed(names)}; {_FORMS}")
    return imported(f"{SHIPPED}.{name}", _KIND)


def _given(name: str, module: ModuleType, function: str) -> Given:
    make = function_of(module, function, name, _KIND, f"def {_FUNCTION}(): ... returns the space")
    with explained(f"{function}() of space {shown(name)} fails"):
        return Given(make(), getattr(module, "OBJECTIVE", None), getattr(module, "TRIALS", None))
