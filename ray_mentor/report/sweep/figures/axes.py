"""An axis of parallel coordinates for a setting: where each value stands, and what is written beside it."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from ray_mentor.report.amounts import is_amount, logarithmic
from ray_mentor.report.page.words import value_text

_MOST_TICKS = 8
_NEAR = 0.06  # parts of an axis that a tick's text takes
_BELOW = 0.15  # how far below the numbers, in parts of their range, the trials stand for which they mean nothing


Scale = Callable[[float], float]
"""From a value to its place."""


@dataclass(frozen=True)
class Axis:
    """Places of all trials and of the ticks, in the axis's own unit."""

    places: list[float]
    ticks: list[float]
    texts: list[str]

    @property
    def ends(self) -> tuple[float, float]:
        """The range that is drawn; a single value stands in its middle."""
        low, high = min([*self.places, *self.ticks]), max([*self.places, *self.ticks])
        return (low, high) if high > low else (low - 1.0, high + 1.0)


def axis(values: list[Any]) -> Axis:
    """Numbers by their size, or its logarithm; anything else as kinds, one tick each."""
    there = [value for value in values if value is not None]
    if not there or not all(is_amount(value) for value in there):
        return _kinds(values)
    if logarithmic(there):
        return _amounts(values, math.log10, _log_ticks(there))
    return _amounts(values, float, _ticks(there))


def _kinds(values: list[Any]) -> Axis:
    nothing = value_text(None)
    texts = sorted({value_text(value) for value in values}, key=lambda text: (text != nothing, text))
    places = [float(texts.index(value_text(value))) for value in values]
    return Axis(places, list(map(float, range(len(texts)))), shortened(texts))


def shortened(texts: list[str], most: int = 18) -> list[str]:
    """Long texts with their middle left out, as much of it as leaves them different."""
    for size in range(most, max(map(len, texts)) + 1):
        cut = [_without_middle(text, size) for text in texts]
        if len(set(cut)) == len(texts):
            return cut
    return texts


def _without_middle(text: str, size: int) -> str:
    return text if len(text) <= size else f"{text[: size // 2]}…{text[len(text) - (size - size // 2 - 1) :]}"


def _amounts(values: list[Any], scale: Scale, ticks: list[float]) -> Axis:
    places = [None if value is None else scale(value) for value in values]
    at, texts = [scale(tick) for tick in ticks], [value_text(tick) for tick in ticks]
    there = [place for place in places if place is not None]
    if len(there) == len(places):
        return Axis(there, at, texts)
    low, high = min([*there, *at]), max([*there, *at])
    nowhere = low - _BELOW * ((high - low) or 1.0)
    return Axis([nowhere if place is None else place for place in places], [nowhere, *at], [value_text(None), *texts])


def _ticks(values: list[float]) -> list[float]:
    """The values themselves where they are few, else both ends and round numbers between them."""
    few = sorted(set(values))
    if len(few) <= _MOST_TICKS:
        return few
    step = _round_step((few[-1] - few[0]) / 5)
    every = [number * step for number in range(math.ceil(few[0] / step), math.floor(few[-1] / step) + 1)]
    return _with_ends(every, few[0], few[-1], float)


def _with_ends(ticks: list[float], low: float, high: float, scale: Scale) -> list[float]:
    """Both ends, and those ticks that are not so near to one that their texts would meet."""
    room = _NEAR * (scale(high) - scale(low))
    inner = [tick for tick in ticks if scale(low) + room < scale(tick) < scale(high) - room]
    return [low, *inner, high]


def _round_step(least: float) -> float:
    """The smallest of 1, 2, 5, 10, ... that is no less."""
    power: float = 10.0 ** math.floor(math.log10(least))
    return next(digit * power for digit in (1.0, 2.0, 5.0, 10.0) if digit * power >= least * (1 - 1e-9))


def _log_ticks(values: list[float]) -> list[float]:
    few = sorted(set(values))
    if len(few) <= _MOST_TICKS:
        return few
    first, last = math.floor(math.log10(few[0])), math.ceil(math.log10(few[-1]))
    every = [digit * 10.0**power for power in range(first, last) for digit in (1.0, 2.0, 5.0)] + [10.0**last]
    inside = [tick for tick in every if few[0] <= tick <= few[-1]]
    chosen = inside if len(inside) <= _MOST_TICKS else [tick for tick in inside if math.log10(tick).is_integer()]
    return _with_ends(chosen, few[0], few[-1], math.log10)
