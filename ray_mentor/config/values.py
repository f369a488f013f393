"""Single settings: whether a value keeps a rule, and a config file's value as its setting's type."""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from typing import Any

from ray_mentor.errors import UserError, shown


def require(ok: bool, name: str, value: object, rule: str, fix: str = "") -> None:
    """Raises a UserError that names setting, value, rule and fix, unless ``ok`` and the value is a possible one."""
    if not ok:
        raise UserError(f"{name} is {shown(value)}, but {rule}{'; ' + fix if fix else ''}")
    check_possible(name, value)


def check_possible(name: str, value: object) -> None:
    """Raises a UserError if ``value`` is what no setting can be, whatever its own rule is.

    That is a number that is infinite or that 64 bits can't hold, and a text that can be neither written to a file nor
    be a path.
    """
    if isinstance(value, float) and math.isinf(value):
        raise UserError(f"{name} is {value!r}, but it must be finite")
    if isinstance(value, float) and abs(value) >= _LARGEST:
        raise UserError(f"{name} is {value!r}, but it must be below {_LARGEST:g} in size")
    if isinstance(value, int) and not -(2**63) <= value < 2**63:
        raise UserError(f"{name} is {shown(value)}, but it must lie between -2**63 and 2**63 - 1")
    if isinstance(value, str) and not _is_plain(value):
        raise UserError(f"{name} is {shown(value)}, but it must be UTF-8 without the character NUL; give another")


_LARGEST = 1e18  # float32 ends at 3e38, and rates are multiplied and divided before they get there


def _is_plain(text: str) -> bool:
    """Not so: half a surrogate pair, which stands for a byte that is not UTF-8."""
    return "\0" not in text and not any("\ud800" <= character <= "\udfff" for character in text)


_READERS: dict[str, Callable[[Any], bool]] = {
    "int": lambda v: isinstance(v, int) and not isinstance(v, bool),
    "float": lambda v: isinstance(v, int | float) and not isinstance(v, bool),
    "bool": lambda v: isinstance(v, bool),
    "str": lambda v: isinstance(v, str),
    "None": lambda v: v is None,
    "auto": lambda v: v == "auto",
}


def typed(name: str, annotation: str, value: Any) -> Any:
    """A config file's value as the annotated type, or an error that says which type is meant."""
    if annotation.startswith("tuple["):
        inner = annotation.removeprefix("tuple[").split(",")[0]
        require(isinstance(value, list | tuple), name, value, f"it must be a list of {inner}")
        return tuple(typed(name, inner, item) for item in value)
    if annotation.startswith("Literal"):
        kinds = ["str", "None"] if annotation.endswith(" | None") else ["str"]
    else:
        kinds = annotation.replace("Literal['auto']", "auto").split(" | ")
    if kinds[0] == "float" and isinstance(value, int | str) and not isinstance(value, bool):
        value = _number(value)  # YAML 1.1 reads 1e-3 as a string
    if "str" in kinds and isinstance(value, os.PathLike):
        value = os.fspath(value)
    if name in _OF_DATA and value is not None and not isinstance(value, _PLAIN):
        raise UserError(
            f"{name} is a {type(value).__name__}, but as a setting it is a name or a path; data in memory go to "
            "CurriculumTrainer(student, data=..., meta=...)"
        )
    require(any(_READERS[kind](value) for kind in kinds), name, value, f"it must be of type {' or '.join(kinds)}")
    return value


_OF_DATA, _PLAIN = ("data", "meta_data"), (str, bytes, int, float, list, tuple, dict)


def _number(value: int | str) -> float | int | str:
    try:
        return float(value)
    except ValueError:
        return value
    except OverflowError:  # an integer of hundreds of digits
        return math.inf
