"""What the figures of a run share: lines over the epochs, and places for what is not known."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from ray_mentor.report.page.drawing import ZOOM, Figure, layout, numbers, plot_axis

RIGHT, WRONG, ALL = "--good", "--best", "--accent"


def line(name: str, values: Iterable[Any], shade: str, dash: str = "solid", **more: Any) -> Figure:
    """A line over the epochs, which count from 1; a dot where there is a single one."""
    y = [None if value is None else round(value, 5) for value in numbers(values)]
    return {
        "type": "scatter",
        "mode": "lines" if sum(value is not None for value in y) > 1 else "markers",
        "name": name,
        "x": list(range(1, len(y) + 1)),
        "y": y,
        "line": {"color": shade, "dash": dash, "width": 2},
        "marker": {"color": shade},
        "hovertemplate": "%{fullData.name}, epoch %{x}: %{y:.4g}<extra></extra>",
        **more,
    }


def over_epochs(traces: list[Figure], title: str, *, height: int = 360, **axis: Any) -> Figure | None:
    """A figure of such lines; None without any."""
    drawn = [trace for trace in traces if any(value is not None for value in trace["y"])]
    if not drawn:
        return None
    return with_names(drawn, layout(xaxis=plot_axis("epoch"), yaxis=plot_axis(title, **axis)), height)


def with_names(traces: list[Figure], look: Figure, height: int) -> Figure:
    """A figure with its lines' names on top, as high as these need: on a phone each has a line."""
    room = {"l": 60, "r": 20, "t": 52 + 19 * len(traces), "b": 50}
    high = height + 19 * max(len(traces) - _NAMES, 0)
    return {"data": traces, "layout": {**look, "height": high, "showlegend": True, "margin": room}, "buttons": ZOOM}


_NAMES = 6  # lines whose names leave room in a figure's usual height


def look_of(place: int) -> tuple[str, str]:
    """Colour and dash of one line of many."""
    return _LINES[place % len(_LINES)], _DASHES[place // len(_LINES) % len(_DASHES)]


_LINES = ("--line-a", "--line-b", "--line-c", "--line-d", "--line-e", "--line-f")
_DASHES = ("solid", "dash", "dot", "dashdot")
