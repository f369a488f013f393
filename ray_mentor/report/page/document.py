"""A page that needs nothing but itself: what it shows, plotly.js, and a policy.

Under the policy a browser fetches nothing for it, and runs the three scripts that are written here alone.
"""

from __future__ import annotations

import json
from collections.abc import Mapping

from plotly.offline import get_plotlyjs

from ray_mentor.report.page.drawing import Figure
from ray_mentor.report.page.html import escaped, script_source
from ray_mentor.report.page.style import CSS, DRAW, WATCH

_POLICY = (  # plotly.js compiles what draws parallel coordinates
    "default-src 'none'; script-src {scripts} 'unsafe-eval'; style-src 'unsafe-inline'; img-src data: blob:; "
    "base-uri 'none'; form-action 'none'"
)


def document(title: str, body: str, figures: Mapping[str, Figure]) -> str:
    """The whole page.

    Args:
        title: as HTML.
        body: as HTML, with a place for each figure.
        figures: by the names of their places.
    """
    plotly = get_plotlyjs()
    policy = _POLICY.format(scripts=" ".join(map(script_source, (WATCH, plotly, DRAW))))
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{policy}">
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
<script>{plotly}</script>
<script>{DRAW}</script>
</body>
</html>
"""


def _json(figures: Mapping[str, Figure]) -> str:
    """JSON that no text in it can end the script element of."""
    return json.dumps(figures, allow_nan=False).replace("<", "\\u003c")


def section(name: str, title: str, caption: str, figure: Figure | None, lacks: str, width: int = 0) -> str:
    """A part of the page with a figure's place in it.

    Args:
        name: of the place.
        title: as HTML, as are caption and what is said where there is no figure.
        width: pixels that it needs.
    """
    if figure is None:
        return f'<section><h2>{title}</h2><p class="caption">{lacks}</p></section>'
    size = f"height: {figure['layout']['height']}px; min-width: {width}px"
    drawn = f'<div class="wide"><div id="{name}" style="{size}"></div></div>'
    return f'<section><h2>{title}</h2><p class="caption">{caption}</p>{drawn}</section>'


def foot(versions: Mapping[str, str]) -> str:
    """What made the page."""
    said = ", ".join(f"{escaped(name)} {escaped(version)}" for name, version in versions.items())
    return f"<footer>Made by ray_mentor{f' with {said}' if said else ''}.</footer>"
