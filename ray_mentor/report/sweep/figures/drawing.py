"""What all figures of a sweep's page share: escaping, hover texts, axes and layout.

A colour is the name of a CSS variable of the page, so that one figure does for light and dark.
"""

from __future__ import annotations

import html
import math
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import pandas as pd

from ray_mentor.report.sweep.trials import settings_of
from ray_mentor.report.sweep.words import STATES, duration_text, figure_text, one_line, setting_texts, state_text

Figure = dict[str, Any]
"""``data``, ``layout`` and ``buttons`` of plotly.js, or a part of them."""

ZOOM = ["toImage", "zoom2d", "pan2d", "resetScale2d"]
STILL = ["toImage"]
"""The buttons above a figure."""

ACCURACY = "accuracy on held-out trusted samples"


def escaped(text: object, most: int = 60) -> str:
    """A user's string on one line, with the HTML escaped that Plotly would read; it knows no entities for quotes."""
    return html.escape(one_line(text, most), quote=False)


def by_state(trials: pd.DataFrame) -> Iterator[tuple[str, pd.DataFrame]]:
    """The trials of each state; finished ones last: they are drawn above the others."""
    order = [*STATES, *(state for state in trials["state"].unique() if state not in STATES)]
    for state in reversed(order):
        rows = trials[trials["state"] == state]
        if not rows.empty:
            yield state, rows


def legend_rank(state: str) -> int:
    """Finished ones first."""
    return 1000 + [*STATES, state].index(state)


def hover_text(row: Mapping[Any, Any]) -> str:
    """What is shown of a trial under the pointer."""
    head = f"<b>trial {escaped(row['trial'])}</b>, {state_name(row['state'])}"
    figures = f"accuracy {figure_text(row['accuracy'])}, {duration_text(row['seconds'])}"
    settings = [html.escape(text, quote=False) for text in setting_texts(settings_of(row))]
    return "<br>".join([head, figures, *settings[:_MOST], *(["…"] if len(settings) > _MOST else [])])


_MOST = 20  # settings that fit under a pointer


def state_name(state: str) -> str:
    """A trial's state in plain words."""
    return html.escape(state_text(state), quote=False)


def best_trial(sweep: Mapping[str, Any]) -> str | None:
    """The id of the best trial, if there is one."""
    best = sweep.get("best")
    return None if best is None else best["trial"]


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
