"""A user's strings in HTML, and what a page may run."""

from __future__ import annotations

import base64
import hashlib
import html
from collections.abc import Mapping
from typing import Any

from ray_mentor.report.sweep.words import objective_text, one_line, state_text


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


def objective_html(sweep: Mapping[str, Any]) -> str:
    """The name of what was searched for."""
    return html.escape(objective_text(sweep))


def script_source(script: str) -> str:
    """What a page's policy calls the script of this text, so that a browser runs it."""
    digest = hashlib.sha256(script.encode()).digest()
    return f"'sha256-{base64.b64encode(digest).decode()}'"
