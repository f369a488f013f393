"""A user's strings in HTML."""

from __future__ import annotations

import html

from ray_mentor.report.sweep.words import one_line, state_text


def escaped(text: object, most: int = 200) -> str:
    """On one line, written as it is."""
    return html.escape(one_line(text, most))


def breaking(text: object) -> str:
    """With places where a long name may be broken into lines."""
    return escaped(text).replace("_", "_<wbr>").replace("+", "+<wbr>")


def code(text: object) -> str:
    """As something that one could type."""
    return f"<code>{escaped(text, 400)}</code>"


def state_html(state: str) -> str:
    """A trial's state in plain words."""
    return html.escape(state_text(state))
