"""Accuracy against seconds."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from ray_mentor.report.amounts import logarithmic
from ray_mentor.report.page.drawing import ACCURACY, ZOOM, Figure, layout, numbers, plot_axis
from ray_mentor.report.page.words import duration_text, figure_text
from ray_mentor.report.sweep.figures.drawing import best_trial, by_state, hover_text, legend_rank, state_name
from ray_mentor.report.sweep.pareto_front import pareto_front
from ray_mentor.report.sweep.trials import rows_of
from ray_mentor.report.sweep.words import OUT

_MARKERS = {
    "finished": {"symbol": "circle", "color": "--accent"},
    "stopped": {"symbol": "circle-open", "color": "--muted"},
    "hopeless": {"symbol": "x-thin-open", "color": "--warn"},
    "failed": {"symbol": "cross-thin-open", "color": "--bad"},
    "unfinished": {"symbol": "triangle-up-open", "color": "--muted"},
}
_UNKNOWN = {"symbol": "diamond-open", "color": "--muted"}


def pareto_figure(trials: pd.DataFrame, sweep: Mapping[str, Any]) -> Figure | None:
    """Accuracy against seconds: a line through the trials that nobody beats in both, all others as points."""
    known = trials[np.isfinite(trials["accuracy"]) & np.isfinite(trials["seconds"])]
    if known.empty:
        return None
    data = [_front_line(known), *_points_by_state(known), *_best_ring(known, sweep), *_baseline_mark(sweep)]
    scale = "log" if logarithmic(list(known["seconds"])) else "linear"
    seconds = plot_axis("training seconds, for the whole run", type=scale)
    return {"data": data, "layout": layout(xaxis=seconds, yaxis=plot_axis(ACCURACY), height=440), "buttons": ZOOM}


def _front_line(known: pd.DataFrame) -> Figure:
    able = known[~known["state"].isin(OUT)]
    front = able[pareto_front(able["accuracy"], able["seconds"])].sort_values(["seconds", "accuracy"])
    return {
        "type": "scatter",
        "mode": "lines",
        "name": "Pareto front",
        "legendrank": 1,
        "x": numbers(front["seconds"]),
        "y": numbers(front["accuracy"]),
        "line": {"shape": "hv", "color": "--accent", "width": 2},
        "hoverinfo": "skip",
    }


def _points_by_state(known: pd.DataFrame) -> list[Figure]:
    return [
        {**_points(rows, state_name(state), _MARKERS.get(state, _UNKNOWN)), "legendrank": legend_rank(state)}
        for state, rows in by_state(known)
    ]


def _points(rows: pd.DataFrame, name: str, marker: Mapping[str, Any]) -> Figure:
    return {
        "type": "scatter",
        "mode": "markers",
        "name": name,
        "x": numbers(rows["seconds"]),
        "y": numbers(rows["accuracy"]),
        "marker": {"size": 9, "line": {"width": 1.5, "color": marker["color"]}, **marker},
        "hovertext": [hover_text(row) for row in rows_of(rows)],
        "hoverinfo": "text",
    }


def _best_ring(known: pd.DataFrame, sweep: Mapping[str, Any]) -> list[Figure]:
    best = known[known["trial"] == best_trial(sweep)]
    if best.empty:
        return []
    ring = _points(best, "best trial", {"symbol": "circle-open", "color": "--best", "size": 17})
    return [{**ring, "legendrank": 2, "hoverinfo": "skip"}]


def _baseline_mark(sweep: Mapping[str, Any]) -> list[Figure]:
    baseline = sweep.get("baseline")
    if baseline is None:
        return []
    figures = f"accuracy {figure_text(baseline['accuracy'])}, {duration_text(baseline['seconds'])}"
    return [
        {
            "type": "scatter",
            "mode": "markers",
            "name": "equal sample weights",
            "legendrank": 3,
            "x": numbers([baseline["seconds"]]),
            "y": numbers([baseline["accuracy"]]),
            "marker": {"symbol": "diamond", "color": "--base", "size": 12},
            "hovertext": [f"<b>equal sample weights</b><br>{figures}"],
            "hoverinfo": "text",
        }
    ]
