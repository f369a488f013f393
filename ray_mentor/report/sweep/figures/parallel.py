"""Parallel coordinates of the settings."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from ray_mentor.report.page.drawing import STILL, Figure, escaped, layout
from ray_mentor.report.sweep.figures.axes import Axis, axis
from ray_mentor.report.sweep.trials import setting_names, setting_values
from ray_mentor.report.sweep.words import objective_text


def parallel_figure(
    trials: pd.DataFrame, sweep: Mapping[str, Any], importances: Mapping[str, float] | None
) -> Figure | None:
    """A line a trial through its settings, coloured by the objective, which stands at the left."""
    known = trials[np.isfinite(trials["objective"])].sort_values("objective", kind="stable")
    names = setting_names(known)
    if known.empty or not names:
        return None
    names.sort(key=lambda name: (importances or {}).get(name, 0.0), reverse=True)
    objective = [float(value) for value in known["objective"]]
    axes = {name: axis(setting_values(known, name)) for name in names}
    dimensions = [_dimension(escaped(name, 24), each) for name, each in axes.items()]
    trace = {
        "type": "parcoords",
        "dimensions": [_dimension(f"<b>{escaped(objective_text(sweep))}</b>", axis(objective)), *dimensions],
        "line": {"color": objective, "colorscale": _SCALE, "cmin": _lowest_colour(objective), "cmax": max(objective)},
        "labelangle": -15 if len(names) > 5 else 0,
        "labelfont": {"color": "--ink", "size": 12},
        "tickfont": {"color": "--ink", "size": 11},
        "rangefont": {"color": "--muted", "size": 11},
        "unselected": {"line": {"color": "--grid", "opacity": 0.35}},
    }
    margins = {"l": 70, "r": 70, "t": 90 if len(names) > 5 else 50, "b": 24}
    return {"data": [trace], "layout": layout(height=420, margin=margins), "buttons": STILL}


_SCALE = [[0.0, "--scale-low"], [0.5, "--scale-middle"], [1.0, "--scale-high"]]


def _lowest_colour(objective: list[float]) -> float:
    """Tukey's fence: a few trials that failed to learn do not take the colours from all others."""
    low, high = np.quantile(objective, [0.25, 0.75])
    lowest = float(max(min(objective), low - 1.5 * (high - low)))
    return lowest if lowest < max(objective) else lowest - 1.0


def _dimension(label: str, along: Axis) -> Figure:
    return {
        "label": label,
        "values": along.places,
        "range": list(along.ends),
        "tickvals": along.ticks,
        "ticktext": along.texts,
    }
