"""Single settings: whether a value keeps a rule, and a config file's value as its setting's type."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from ray_mentor.errors import UserError


def require(ok: bool, name: str, value: object, rule: str, fix: str = "") -> None:
    """Raises a UserError that names setting, value, rule and fix, unless ``ok``; an infinite number never is."""
    if ok and isinstance(value, float) and math.isinf(value):
        rule, fix, ok = "it must be finite", "", False
    if not ok:
        raise UserError(f"{name} is {value!r}, but {rule}{'; ' + fix if fix else ''}")


_READERS: dict[str, Callable[[Any], bool]] = {
    "int": lambda v: isinstance(v, int) and not isinstance(v, bool),
    "float": lambda v: isinstance(v, int | float) and not isinstance(v, bool),
    "bool": lambda v: isinstance(v, bool),
    "str": lambda v: isinstance(v, str),
    "None": lambda v: v is None,
}


def typed(name: str, annotation: str, value: Any) -> Any:
    """A config file's value as the annotated type, or an error that says which type is meant."""
    if annotation.startswith("tuple["):
        inner = annotation.removeprefix("tuple[").split(",")[0]
        require(isinstance(value, list | tuple), name, value, f"it must be a list of {inner}")
        return tuple(typed(name, inner, item) for item in value)
    if annotation == "float" and isinstance(value, str):  # YAML 1.1 reads 1e-3 as a string
        value = _number(value)
    kinds = ["str"] if annotation.startswith("Literal") else annotation.split(" | ")
    require(any(_READERS[kind](value) for kind in kinds), name, value, f"it must be of type {' or '.join(kinds)}")
    return float(value) if kinds[0] == "float" and value is not None else value


def _number(text: str) -> float | str:
    try:
        return float(text)
    except ValueError:
        return text
