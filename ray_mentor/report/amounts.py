"""Numbers that a setting may have, and whether they were searched by their size or by its logarithm."""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import median
from typing import Any

_WIDE = 20.0  # a narrower range looks much the same by size and by logarithm


def is_amount(value: Any) -> bool:
    """Whether a value is a finite number; a bool is none."""
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def logarithmic(values: Sequence[float]) -> bool:
    """Whether numbers spread by their logarithms.

    They are positive, span more than a factor of 20, and their median lies nearer to the middle of the logarithms than
    to that of the numbers: a uniform draw from (0, 1) may span any factor.
    """
    low, middle, high = min(values), median(values), max(values)
    if low <= 0 or high / low <= _WIDE:
        return False
    return abs(math.log(middle / low) / math.log(high / low) - 0.5) < abs((middle - low) / (high - low) - 0.5)
