"""Values and figures as a person reads them: plain text, in a terminal as on a page."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from ray_mentor.errors import printable

_LONG = 60  # characters of a value
_SEEN = 16  # times what is shown is looked at, of which most may be blank


def one_line(text: object, most: int = _LONG) -> str:
    """A string on one line: control characters written out, cut short where it is long."""
    whole = str(text)
    first = whole[: _SEEN * most]
    line = " ".join(printable(first).split())
    return line if len(line) <= most and len(first) == len(whole) else line[: most - 1] + "…"


def value_text(value: Any) -> str:
    """A setting's value: numbers with four digits, – for one that has no meaning."""
    if value is None:
        return "–"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        return str(int(value)) if value.is_integer() and abs(value) < 1e6 else f"{value:.4g}"
    return one_line(value) or '""'


def setting_texts(settings: Mapping[str, Any]) -> list[str]:
    """``name = value`` of each setting."""
    return [f"{one_line(name)} = {value_text(value)}" for name, value in settings.items()]


def figure_text(value: Any, form: str = "{:.4f}") -> str:
    """A figure, or – where there is none."""
    return form.format(value) if value is not None and math.isfinite(value) else "–"


def duration_text(seconds: Any) -> str:
    """Seconds in the unit that suits them."""
    if seconds is None or not math.isfinite(seconds):
        return "–"
    if seconds < 600:
        return f"{seconds:.0f} s" if seconds >= 9.95 else f"{seconds:.1f} s"
    return f"{seconds / 60:.0f} min" if seconds < 3 * 3600 else f"{seconds / 3600:.1f} h"


def listed_text(words: Sequence[str]) -> str:
    """``a, b and c``."""
    return " and ".join([", ".join(words[:-1]), words[-1]]) if len(words) > 1 else "".join(words)


def numbered(count: int, noun: str) -> str:
    """``1 trial``, ``2 trials``."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"
