"""A user's strings in HTML, and what a page may run."""

from __future__ import annotations

import base64
import hashlib
import html

from ray_mentor.report.page.words import one_line


def escaped(text: object, most: int = 200) -> str:
    """On one line, written as it is."""
    return html.escape(one_line(text, most))


def breaking(text: object) -> str:
    """With places where a long name may be broken into lines."""
    return escaped(text).replace("_", "_<wbr>").replace("+", "+<wbr>")


def code(text: object) -> str:
    """As something that one could type."""
    return f"<code>{escaped(text, 400)}</code>"


def script_source(script: str) -> str:
    """What a page's policy calls the script of this text, so that a browser runs it."""
    digest = hashlib.sha256(script.encode()).digest()
    return f"'sha256-{base64.b64encode(digest).decode()}'"
