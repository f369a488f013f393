"""Learning curves."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from ray_mentor.report.page.drawing import ACCURACY, ZOOM, Figure, layout, numbers, plot_axis
from ray_mentor.report.sweep.figures.drawing import best_trial, by_state, hover_text, legend_rank, state_name
from ray_mentor.report.sweep.trials import rows_of

_LINES = {"finished": "--accent", "hopeless": "--warn", "failed": "--bad"}


def curves_figure(trials: pd.DataFrame, curves: pd.DataFrame, sweep: Mapping[str, Any]) -> Figure | None:
    """Accuracy over the epochs, one line a trial; those that did not finish faded, the best one on top."""
    if curves.empty or not np.isfinite(curves["accuracy"]).any():
        return None
    best = best_trial(sweep)
    others = [_curves(rows, curves, state) for state, rows in by_state(trials[trials["trial"] != best])]
    data = [*others, _curve_of_best(trials[trials["trial"] == best], curves)]
    epochs = plot_axis("epochs done", rangemode="tozero")
    drawn = layout(xaxis=epochs, yaxis=plot_axis(ACCURACY), height=420)
    return {"data": [trace for trace in data if trace["x"]], "layout": drawn, "buttons": ZOOM}


def _curves(rows: pd.DataFrame, curves: pd.DataFrame, state: str) -> Figure:
    """All lines of one state as one trace, an empty place between two."""
    x: list[float | None] = []
    y: list[float | None] = []
    texts: list[str] = []
    for row in rows_of(rows):
        own = curves[curves["trial"] == row["trial"]].sort_values("epoch")
        if not own.empty:
            x += [*numbers(own["epoch"]), None]
            y += [*numbers(own["accuracy"]), None]
            texts += [hover_text(row)] * (len(own) + 1)
    shade = _LINES.get(state, "--muted")
    return {
        "type": "scatter",
        "mode": "lines+markers",
        "name": state_name(state),
        "legendrank": legend_rank(state),
        "x": x,
        "y": y,
        "line": {"color": shade, "width": 1.5},
        "marker": {"color": shade, "size": 3},
        "opacity": 0.65 if state == "finished" else 0.4,
        "hovertext": texts,
        "hovertemplate": "%{hovertext}<br>after epoch %{x}: %{y:.4f}<extra></extra>",
    }


def _curve_of_best(best: pd.DataFrame, curves: pd.DataFrame) -> Figure:
    line = {"line": {"color": "--best", "width": 3}, "marker": {"color": "--best", "size": 4}, "opacity": 1.0}
    return {**_curves(best, curves, "finished"), **line, "name": "best trial", "legendrank": 1}
