"""A page that needs nothing but itself: what it shows, plotly.js, and a policy.

Under the policy a browser fetches nothing for it, and runs the scripts that are written here alone.
"""

from __future__ import annotations

import html
import json
from collections.abc import Mapping

from ray_mentor.errors import printable
from ray_mentor.report.page.drawing import Figure
from ray_mentor.report.page.html import escaped, script_source
from ray_mentor.report.page.plotly_js import packed
from ray_mentor.report.page.scripts import DRAW, WATCH
from ray_mentor.report.page.style import CSS

_POLICY = (
    "default-src 'none'; script-src {scripts}; style-src 'unsafe-inline'; img-src data: blob:; "
    "base-uri 'none'; form-action 'none'"
)
_COMPILED = ("parcoords",)
"""Kinds of traces for which plotly.js compiles code, which a policy forbids unless it is said."""


def document(title: str, body: str, figures: Mapping[str, Figure], more: str = "") -> str:
    """The whole page.

    Args:
        title: as HTML.
        body: as HTML, with a place for each figure.
        figures: by the names of their places.
        more: a script of the page's own.
    """
    plotly, opened = packed() if figures else ("", None)
    scripts = [script_source(script) for script in (WATCH, DRAW, more) if script] + ([opened] if opened else [])
    if any(trace["type"] in _COMPILED for figure in figures.values() for trace in figure["data"]):
        scripts.append("'unsafe-eval'")
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{_POLICY.format(scripts=" ".join(scripts))}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>{CSS}</style>
</head>
<body>
<main>
{body}
</main>
<script>{WATCH}</script>
<script type="application/json" id="figures">{_json(figures)}</script>
<script type="text/plain" id="plotly">{plotly}</script>
<script>{DRAW}</script>{f"{chr(10)}<script>{more}</script>" if more else ""}
</body>
</html>
"""


def _json(figures: Mapping[str, Figure]) -> str:
    """JSON that no text in it can end the script element of."""
    return json.dumps(figures, allow_nan=False, separators=(",", ":")).replace("<", "\\u003c")


def section(
    name: str, title: str, caption: str, figure: Figure | None, lacks: str, width: int = 0, more: str = ""
) -> str:
    """A part of the page with a figure's place in it.

    Args:
        name: of the place.
        title: as HTML, as are caption and what is said where there is no figure.
        width: pixels that it needs.
        more: what comes below the figure, as HTML.
    """
    if figure is None:
        return f'<section><h2 id="{name}-title">{title}</h2><p class="caption">{lacks}</p></section>'
    size = f"height: {figure['layout']['height']}px; min-width: {width}px"
    says = f'role="figure" aria-labelledby="{name}-title" aria-describedby="{name}-caption"'
    drawn = f'<div class="wide" tabindex="0"><div id="{name}" {says} style="{size}"></div></div>'
    return (
        f'<section><h2 id="{name}-title">{title}</h2><p class="caption" id="{name}-caption">{caption}</p>'
        f"{_slider(name, figure)}{drawn}{more}</section>"
    )


def _slider(name: str, figure: Figure) -> str:
    """A browser's own, which keys move as well, over the figure's ``frames``; it begins at the last."""
    frames = figure.get("frames")
    if not frames:
        return ""
    last = len(frames) - 1
    field = f'<input type="range" id="{name}-slider" data-figure="{name}" min="0" max="{last}" value="{last}">'
    return f'<p class="slider"><label for="{name}-slider">When</label> {field} <output id="{name}-says"></output></p>'


def copied(name: str, text: str) -> str:
    """Text that is shown as it is, with a button that copies it."""
    shown = html.escape("\n".join(map(printable, text.splitlines())))
    return f'<p><button type="button" data-copies="{name}">Copy</button></p><pre id="{name}">{shown}</pre>'


def foot(versions: Mapping[str, str]) -> str:
    """What made the page."""
    said = ", ".join(f"{escaped(name)} {escaped(version)}" for name, version in versions.items())
    return f"<footer>Made by ray_mentor{f' with {said}' if said else ''}.</footer>"
