"""A page of ours as text: what it says, and what it draws."""

from __future__ import annotations

import base64
import gzip
import html
import json
import re
from typing import Any


def figures(whole: str) -> dict[str, Any]:
    """What the page hands to plotly.js, by figure."""
    found = re.search(r'<script type="application/json" id="figures">(.*?)</script>', whole, re.DOTALL)
    assert found is not None
    drawn: dict[str, Any] = json.loads(found[1])
    return drawn


def words(whole: str) -> str:
    """The page's text as it is read."""
    body = re.sub(r"<script.*?</script>", "", whole[whole.index("<main>") :], flags=re.DOTALL)
    return " ".join(html.unescape(re.sub(r"<[^>]*>", "", body.replace("<td", " <td"))).split())


def without_plotly(whole: str) -> str:
    """The page without its plotly.js."""
    return _HELD.sub("", whole, count=1)


def plotly_of(whole: str) -> str:
    """The plotly.js that a page brings along, as a browser would open it."""
    found = _HELD.search(whole)
    assert found is not None
    return gzip.decompress(base64.b64decode(found[1], validate=True)).decode()


_HELD = re.compile(r'(?<=<script type="text/plain" id="plotly">)([^<]*)')
