"""Where the name of each point is written, so that no two lie on each other."""

from __future__ import annotations

from collections.abc import Sequence

WIDTH = 900
"""Pixels that the figure needs for it."""

_ACROSS, _DOWN = 720.0, 340.0  # pixels between the outermost points: less than there are, for what axes take
_LETTER, _LINE, _AWAY = 6.8, 16.0, 7.0  # of a name's letters, of its height, and from a point to its name
_ROUND = 6.0  # a point's radius
_SIDES = {
    "top center": (0.0, 1.0),
    "bottom center": (0.0, -1.0),
    "middle right": (1.0, 0.0),
    "middle left": (-1.0, 0.0),
    "top right": (1.0, 1.0),
    "top left": (-1.0, 1.0),
    "bottom right": (1.0, -1.0),
    "bottom left": (-1.0, -1.0),
}

Box = tuple[float, float, float, float]
"""Left, bottom, right, top in pixels."""


def places(at: Sequence[Sequence[float]], texts: Sequence[str]) -> list[str]:
    """For each point the first side of it, in plotly.js's words, whose text covers no other; else the least covered.

    Args:
        at: along both axes, from 0 to 1.
        texts: of the points.
    """
    centres = [(x * _ACROSS, y * _DOWN) for x, y in zip(*at, strict=True)]
    taken = [(x - _ROUND, y - _ROUND, x + _ROUND, y + _ROUND) for x, y in centres]
    found = [""] * len(texts)
    for number in sorted(range(len(texts)), key=lambda number: -centres[number][1]):  # from the top down
        boxes = {side: _box(centres[number], toward, texts[number]) for side, toward in _SIDES.items()}
        others = [box for place, box in enumerate(taken) if place != number]
        found[number] = min(boxes, key=lambda side: sum(_common(boxes[side], other) for other in others))
        taken.append(boxes[found[number]])
    return found


def _box(centre: tuple[float, float], toward: tuple[float, float], text: str) -> Box:
    wide, (x, y), (right, up) = _LETTER * len(text), centre, toward
    left = x - wide / 2 + right * (wide / 2 + _AWAY)
    low = y - _LINE / 2 + up * (_LINE / 2 + _AWAY)
    return left, low, left + wide, low + _LINE


def _common(one: Box, other: Box) -> float:
    """The area that two boxes share."""
    wide = min(one[2], other[2]) - max(one[0], other[0])
    high = min(one[3], other[3]) - max(one[1], other[1])
    return max(wide, 0.0) * max(high, 0.0)
