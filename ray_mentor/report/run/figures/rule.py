"""A rule's curves, and what the mentor said beside them."""

from __future__ import annotations

import numpy as np

from ray_mentor.report.page.drawing import STILL, Figure, layout, numbers, plot_axis
from ray_mentor.report.run.figures.lines import ALL
from ray_mentor.report.run.rule import Ruled

MOST_FRAMES = 20
_AXES = {
    "quantile": "loss quantile in its batch",
    "loss": "loss (nats)",
    "loss_difference": "loss difference (nats)",
}
_SMALL, _LARGE = 4.0, 14.0  # pixels of a dot


def rule_figure(ruled: Ruled) -> Figure:
    """Weight over what the rule weighs by; a frame a point of progress, 20 at most, where it depends on that."""
    rule, table = ruled.rule, ruled.table
    curves = len(rule.weights)
    said, rows = (table[name].to_numpy().reshape(curves, -1) for name in ("said", "rows"))
    title = _AXES[rule.weigh_by] if rule.in_nats else _AXES[rule.weigh_by].replace("nats", "in units of its own")
    look = layout(
        xaxis=plot_axis(title), yaxis=plot_axis("sample weight", range=[-0.02, 1.04]), height=420, showlegend=True
    )
    largest = max(int(rows.max()), 1)
    drawn = [
        [_line(rule.at, rule.weights[place]), _dots(rule.at, said[place], rows[place], largest)]
        for place in range(curves)
    ]
    if curves == 1:
        return {"data": drawn[0], "layout": look, "buttons": STILL}
    shown = np.unique(np.linspace(0, curves - 1, min(curves, MOST_FRAMES)).round().astype(int))
    frames = [{"label": f"progress {rule.progress[place]:.2f}", "data": drawn[place]} for place in shown]
    return {"data": [], "frames": frames, "layout": look, "buttons": STILL}


def _line(at: np.ndarray, weights: np.ndarray) -> Figure:
    return {
        "type": "scatter",
        "mode": "lines",
        "name": "the rule",
        "x": _short(at),
        "y": _short(weights),
        "line": {"color": "--best", "width": 2},
        "hovertemplate": "the rule at %{x}: %{y:.3f}<extra></extra>",
    }


def _dots(at: np.ndarray, said: np.ndarray, rows: np.ndarray, largest: int) -> Figure:
    return {
        "type": "scatter",
        "mode": "markers",
        "name": "what was said, on average",
        "x": _short(at),
        "y": [None if value is None else round(value, 4) for value in numbers(said)],
        "text": [f"{count:,}" for count in rows.tolist()],
        "marker": {
            "color": ALL,
            "opacity": 0.7,
            "size": [round(value, 1) for value in (_SMALL + (_LARGE - _SMALL) * np.sqrt(rows / largest)).tolist()],
        },
        "hovertemplate": "%{text} rows near %{x}: mean weight %{y:.3f}<extra></extra>",
    }


def _short(values: np.ndarray) -> list[float]:
    return [float(f"{value:.5g}") for value in values.tolist()]
