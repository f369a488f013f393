"""Features that a student is fed as they are, though they are of very different sizes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ray_mentor.data.samples.inputs import AbstractInputs, FeatureInputs

APART = 100.0
"""Times as wide as another."""

_MOST_ROWS = 10_000  # that are looked at


def note_on_scale(inputs: AbstractInputs, names: Sequence[str] = ()) -> str | None:
    """What there is to say of features whose ranges, as the student is fed them, differ more than :data:`APART`-fold.

    A constant has no range. None where all is well, and of what isn't features in memory.

    Args:
        names: of the features; none: they are called by their places.
    """
    if not isinstance(inputs, FeatureInputs) or not isinstance(inputs.values, np.ndarray) or not len(inputs):
        return None
    values = inputs.values[:: -(-len(inputs) // _MOST_ROWS)].astype(np.float64)  # float32's own range would overflow
    ranges = np.ptp(values, axis=0) / inputs.scale[1]
    there = np.flatnonzero(ranges > 0)
    if not len(there):
        return None
    least, most = there[ranges[there].argmin()], there[ranges[there].argmax()]
    if ranges[most] <= APART * ranges[least]:
        return None
    what = [f"{_called(int(place), names)} by {_amount(ranges[place])}" for place in (least, most)]
    return (
        f"warning: features differ in size ({what[0]}, {what[1]}), and in Python nothing is scaled, as the command "
        "line does: a student may learn nothing from them. Scale them: m, s = x.mean(0), x.std(0) + 1e-9; "
        "x = (x - m) / s, and all that it shall be measured on or predict with the same m and s"
    )


def _amount(value: float) -> str:
    return f"{value:,.0f}" if value >= _WHOLE else f"{value:.2g}"


_WHOLE = 100


def _called(place: int, names: Sequence[str]) -> str:
    return f"{names[place]} spreads" if len(names) > place else f"feature {place} spreads"
