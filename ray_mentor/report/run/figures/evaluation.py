"""How sure the trained student was and how often right, and what it takes for what."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ray_mentor.report.page.drawing import STILL, Figure, escaped, layout, plot_axis
from ray_mentor.report.run.figures.weights import bar_beside

_WRITTEN = 20  # classes up to which counts are written into the cells


def reliability_figure(figures: Mapping[str, Any]) -> Figure:
    """Accuracy in each bin of the probability that was said, beside the line on which both are one."""
    bins = [each for each in figures["calibration"] if each["samples"]]
    bars = {
        "type": "bar",
        "name": "how often right",
        "x": [(each["above"] + each["to"]) / 2 for each in bins],
        "y": [each["accuracy"] for each in bins],
        "width": [0.94 * (each["to"] - each["above"]) for each in bins],
        "customdata": [[each["samples"], each["mean_probability"]] for each in bins],
        "marker": {"color": "--line-b"},
        "hovertemplate": "%{customdata[0]} samples, said %{customdata[1]:.3f}, right %{y:.3f}<extra></extra>",
    }
    same = {
        "type": "scatter",
        "mode": "lines",
        "name": "as often as it says",
        "x": [0, 1],
        "y": [0, 1],
        "line": {"color": "--muted", "dash": "dot", "width": 1.5},
        "hoverinfo": "skip",
    }
    look = layout(
        xaxis=plot_axis("probability of the class that is said", range=[0, 1]),
        yaxis=plot_axis("share that is right", range=[0, 1.02]),
        height=340,
        showlegend=True,
    )
    return {"data": [bars, same], "layout": look, "buttons": STILL}


def confusion_figure(figures: Mapping[str, Any]) -> Figure | None:
    """Counts of label and what is said; None of too many classes."""
    counts = figures["confusion"]
    if counts is None:
        return None
    classes = len(figures["classes"])
    names = [escaped(each["class"], 24) for each in figures["classes"]]
    heat = {
        "type": "heatmap",
        "x": list(range(classes)),
        "y": list(range(classes)),
        "z": [[count or None for count in row] for row in counts],
        "zmin": 0,
        "zmax": max(1, *(max(row) for row in counts)),
        "colorscale": [[0.0, "--scale-low"], [1.0, "--scale-middle"]],
        "colorbar": bar_beside("samples"),
        "hovertemplate": "label %{y}, said %{x}: %{z} samples<extra></extra>",
        **({"texttemplate": "%{z}", "textfont": {"color": "--ink"}} if classes <= _WRITTEN else {}),
    }
    ticks = {"tickvals": list(range(classes)), "ticktext": names} if classes <= 2 * _WRITTEN else {}
    label = plot_axis("label", autorange="reversed")
    look = layout(
        xaxis={**plot_axis("what the student says"), **ticks},
        yaxis={**label, "title": {**label["title"], "standoff": 12}, **ticks},
        height=min(170 + 26 * classes, 800),
    )
    return {"data": [heat], "layout": look, "buttons": STILL}
