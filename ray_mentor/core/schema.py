"""What is read from a file, or comes from another process: is it what one of us would have written?

Asked in one way everywhere: of values, by schemas, each of which knows in words what it asks for; of what values can't
tell (an optimizer's or a mentor's state), by a copy that takes it up and makes a step.
"""

from __future__ import annotations

import dataclasses
import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from torch import Tensor
from typing_extensions import override

from ray_mentor.errors import UserError, shown


@dataclass(frozen=True)
class Breach:
    """Where a value is not what it must be.

    Attributes:
        place: names of tables in tables, joined by dots.
        value: what is there.
        rule: what must be: "a finite number".
    """

    place: str
    value: object
    rule: str


class AbstractSchema(ABC):
    """What a value must be."""

    @abstractmethod
    def breach(self, value: Any, place: str) -> Breach | None:
        """The first one; None if there is none."""


@dataclass(frozen=True)
class Is(AbstractSchema):
    """A value by itself."""

    holds: Callable[[Any], bool]
    rule: str

    @override
    def breach(self, value: Any, place: str) -> Breach | None:
        return None if self.holds(value) else Breach(place, value, self.rule)


@dataclass(frozen=True)
class Maybe(AbstractSchema):
    """None, or what another schema asks for."""

    inner: AbstractSchema

    @override
    def breach(self, value: Any, place: str) -> Breach | None:
        found = None if value is None else self.inner.breach(value, place)
        return found and dataclasses.replace(found, rule=f"{found.rule}, or None")


class Fields(AbstractSchema):
    """Of a dataclass, or of a dict: each by its own schema; there may be others."""

    def __init__(self, **fields: AbstractSchema) -> None:
        self._fields = fields

    @override
    def breach(self, value: Any, place: str) -> Breach | None:
        for name, schema in self._fields.items():
            each = value[name] if isinstance(value, Mapping) else getattr(value, name)
            if found := schema.breach(each, _joined(place, name)):
                return found
        return None


@dataclass(frozen=True)
class Each(AbstractSchema):
    """A list, or a dict, of which each value, and each key, is what a schema asks for."""

    values: AbstractSchema
    keys: AbstractSchema | None = None

    @override
    def breach(self, value: Any, place: str) -> Breach | None:
        is_one = isinstance(value, list) if self.keys is None else isinstance(value, Mapping)
        if not is_one:
            return Breach(place, value, "a list" if self.keys is None else "a table")
        for key, each in value.items() if isinstance(value, Mapping) else enumerate(value):
            if self.keys is not None and (found := self.keys.breach(key, place)):
                return found
            name = place if self.keys is None or not isinstance(key, str) else _joined(place, key)
            if found := self.values.breach(each, name):
                return found
        return None


@dataclass(frozen=True)
class Like(AbstractSchema):
    """The same keys as ``own``, and under each the same type and shape."""

    own: Any

    @override
    def breach(self, value: Any, place: str) -> Breach | None:
        own = self.own
        if isinstance(own, Mapping):
            return self._breach_of_table(value, place)
        if isinstance(own, list | tuple):
            if not isinstance(value, list | tuple) or len(value) != len(own):
                return Breach(place, value, f"a list of {len(own)}")
            pairs = enumerate(zip(value, own, strict=True))
            return next(filter(None, (Like(other).breach(one, f"{place}[{i}]") for i, (one, other) in pairs)), None)
        if isinstance(own, Tensor):
            kind = _kind(own)
            is_alike = isinstance(value, Tensor) and _kind(value) == kind
            return None if is_alike else Breach(place, _kind(value) if isinstance(value, Tensor) else value, f"{kind}")
        if isinstance(own, int | float) and not isinstance(own, bool):
            return A_NUMBER.breach(value, place)
        return None if type(value) is type(own) else Breach(place, value, f"of type {type(own).__name__}")

    def _breach_of_table(self, value: Any, place: str) -> Breach | None:
        if not isinstance(value, Mapping):
            return Breach(place, value, "a table")
        if value.keys() != self.own.keys():
            return Breach(place, sorted(map(str, value)), f"of the keys {shown(sorted(map(str, self.own)))}")
        found = (Like(own).breach(value[key], _joined(place, str(key))) for key, own in self.own.items())
        return next(filter(None, found), None)


def whole_number(least: int = 0) -> Is:
    """An integer that 64 bits hold."""
    return Is(lambda value: type(value) is int and least <= value < 2**63, f"an integer from {least} on")


def _is_float(value: Any) -> bool:
    return type(value) is float and math.isfinite(value)


def _is_number(value: Any) -> bool:
    """Nor too large for a float, which an integer can be."""
    return isinstance(value, int | float) and not isinstance(value, bool) and -_LARGEST < value < _LARGEST


_LARGEST = 1e300

COUNT = whole_number()
A_FLOAT = Is(_is_float, "a finite number")
A_SHARE = Is(lambda value: _is_float(value) and 0 <= value <= 1, "in [0, 1]")
A_NUMBER = Is(_is_number, "a finite number")
"""Whole, too."""


def check(value: Any, schema: AbstractSchema, whole: str, fix: str, place: str = "") -> None:
    """Raises a UserError that names the first entry that is not what it must be, and what that is.

    Args:
        whole: what ``value`` is, or is a part of.
        fix: what the user can do.
        place: of ``value`` in it.
    """
    found = schema.breach(value, place)
    if found is not None:
        raise UserError(f"{found.place} of {whole} is {shown(found.value)}, but it must be {found.rule}; {fix}")


@contextmanager
def taking_up(what: str, fix: str) -> Iterator[None]:
    """Inside, a copy of something takes a state up, and is tried; whatever it trips over is a UserError."""
    try:
        yield
    except Exception as error:  # torch raises whatever it likes
        reason = f"{type(error).__name__}: {(str(error).splitlines() or [''])[0]}"
        raise UserError(f"{what} can't be taken up ({reason}); {fix}") from error


def _joined(place: str, name: str) -> str:
    return f"{place}.{name}" if place else name


def _kind(tensor: Tensor) -> tuple[Any, ...]:
    return tensor.dtype, tuple(tensor.shape), tensor.layout
