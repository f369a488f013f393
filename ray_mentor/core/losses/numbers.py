"""The numbers of a loss, checked."""

from __future__ import annotations

import math

from ray_mentor.errors import UserError


def require_within(loss: str, name: str, value: float, least: float, most: float = math.inf) -> None:
    """Refuses a number outside [least, most].

    Raises:
        UserError: naming loss, number, value and rule.
    """
    if not (math.isfinite(value) and least <= value <= most):
        rule = f"at least {least:g}" if most == math.inf else f"in [{least:g}, {most:g}]"
        raise UserError(f"{name} of the loss {loss} is {value:g}, but it must be {rule}")
