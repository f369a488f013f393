"""The shares of a run's sources over the training, and what a sample more of each would have done."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ray_mentor.report.page.drawing import Figure, escaped, layout, numbers, plot_axis
from ray_mentor.report.run.figures.lines import look_of, with_names
from ray_mentor.report.run.folder import Row


def shares_figure(rows: Sequence[Row]) -> Figure | None:
    """A line a source; None where nothing is mixed."""
    traces = _lines(rows, "share", "%{y:.3f}")
    return _drawn(traces, "share of a window's samples", rangemode="tozero") if traces else None


def influences_figure(rows: Sequence[Row]) -> Figure | None:
    """Likewise; None where no update looked."""
    traces = _lines([row for row in rows if row["influence"] is not None], "influence", "%{y:.3g}", "standard_error")
    return _drawn(traces, "influence on the target's loss") if traces else None


def _lines(rows: Sequence[Row], column: str, form: str, error: str | None = None) -> list[Figure]:
    names = list(dict.fromkeys(row["domain"] for row in rows))
    traces: list[Figure] = []
    for place, name in enumerate(names):
        own = [row for row in rows if row["domain"] == name]
        colour, dash = look_of(place)
        trace: dict[str, Any] = {
            "type": "scatter",
            "mode": "lines" if len(own) > 1 else "markers",
            "name": escaped(name),
            "x": [row["step"] for row in own],
            "y": [None if value is None else float(f"{value:.5g}") for value in numbers(row[column] for row in own)],
            "line": {"color": colour, "dash": dash, "width": 2, **({} if error else {"shape": "hv"})},
            "marker": {"color": colour},
            "hovertemplate": f"%{{fullData.name}}, from step %{{x}}: {form}<extra></extra>",
        }
        if error is not None:
            spread = [0.0 if value is None else float(f"{value:.3g}") for value in numbers(row[error] for row in own)]
            trace["error_y"] = {"array": spread, "color": colour, "thickness": 1, "width": 0}
        traces.append(trace)
    return traces


def _drawn(traces: list[Figure], title: str, **axis: Any) -> Figure:
    return with_names(traces, layout(xaxis=plot_axis("step"), yaxis=plot_axis(title, **axis)), 360)
