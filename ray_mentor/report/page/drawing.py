"""What all figures of a page share: escaping, axes and layout.

A colour is the name of a CSS variable of the page, so that one figure does for light and dark.
"""

from __future__ import annotations

import html
import math
from collections.abc import Iterable
from typing import Any

from ray_mentor.report.page.words import one_line

Figure = dict[str, Any]
"""``data``, ``layout`` and ``buttons`` of plotly.js, or a part of them."""

ZOOM = ["toImage", "zoom2d", "pan2d", "resetScale2d"]
STILL = ["toImage"]
"""The buttons above a figure."""

ACCURACY = "accuracy on held-out trusted samples"


def escaped(text: object, most: int = 60) -> str:
    """A user's string on one line, with the HTML escaped that Plotly would read; it knows no entities for quotes."""
    return html.escape(one_line(text, most), quote=False)


def numbers(values: Iterable[Any]) -> list[float | None]:
    """As JSON knows them: None for what is not finite."""
    return [float(value) if value is not None and math.isfinite(value) else None for value in values]


def plot_axis(title: str, **more: Any) -> Figure:
    """An axis with a quiet grid."""
    return {
        "title": {"text": title, "font": {"size": 13, "color": "--muted"}},
        "gridcolor": "--grid",
        "linecolor": "--grid",
        "zeroline": False,
        "tickfont": {"color": "--muted", "size": 12},
        "automargin": True,
        **more,
    }


def layout(**more: Any) -> Figure:
    """As wide as the page, on its ground, with the legend on top."""
    return {
        "autosize": True,
        "paper_bgcolor": "--page",
        "plot_bgcolor": "--none",
        "margin": {"l": 60, "r": 20, "t": 70, "b": 50},
        "modebar": {"bgcolor": "--none", "color": "--muted", "activecolor": "--ink"},
        "hovermode": "closest",
        "hoverlabel": {"bgcolor": "--page", "bordercolor": "--muted", "align": "left", "font": {"color": "--ink"}},
        "legend": {"orientation": "h", "x": 0, "y": 1.02, "yanchor": "bottom", "font": {"color": "--ink", "size": 12}},
        "font": {"color": "--ink", "family": "system-ui, -apple-system, 'Segoe UI', Roboto, sans-serif", "size": 13},
        **more,
    }
