"""The errors that a user can cause or meet: a message always names the value, the rule and the fix."""

from __future__ import annotations

from collections.abc import Iterable


class UserError(ValueError):
    """A mistake in what the user asked for (an option, a column, a file): exit code 2, no traceback."""


class NonFiniteLossError(UserError):
    """A per-sample loss was NaN or infinite; raised before the update that would have spread it."""


def one_of(value: str, valid: Iterable[str], what: str) -> str:
    """Returns ``value`` if it is among ``valid``.

    Raises:
        UserError: if it is not; the message lists the valid names.
    """
    names = list(valid)
    if value not in names:
        raise UserError(f"unknown {what} {value!r}; valid: {', '.join(names)}")
    return value
