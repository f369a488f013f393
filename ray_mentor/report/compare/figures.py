"""The figures of a comparison's page: accuracy with its seeds, accuracy against cost, curves."""

from __future__ import annotations

import itertools
import math
import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from ray_mentor.config.compared import BASELINE, ORACLE
from ray_mentor.report.amounts import logarithmic
from ray_mentor.report.compare.labels import places
from ray_mentor.report.compare.tables import ON, Line
from ray_mentor.report.page.drawing import STILL, ZOOM, Figure, escaped, layout, plot_axis
from ray_mentor.report.page.words import duration_text, figure_text

Row = Mapping[str, Any]


def accuracy_figure(found: Sequence[Line], runs: Sequence[Row], on: str, best: str | None) -> Figure | None:
    """A bar a method, the best on top, and a dot a seed: accuracy of the student that is kept."""
    known = [line for line in found if line[f"{on}_selected"] is not None][::-1]
    if not known:
        return None
    names = [escaped(line["method"]) for line in known]
    own = [[run[f"{on}_selected"] for run in runs if run["method"] == line["method"] and run["error"] is None]
           for line in known]  # fmt: skip
    bars = {
        "type": "bar",
        "orientation": "h",
        "name": "mean",
        "x": [line[f"{on}_selected"] for line in known],
        "y": names,
        "marker": {"color": [_shade(line["method"], best) for line in known]},
        "opacity": 0.55,
        "hovertemplate": "%{y}: %{x:.4f}<extra></extra>",
    }
    dots = {
        "type": "scatter",
        "mode": "markers",
        "name": "a seed",
        "x": [value for values in own for value in values],
        "y": [name for name, values in zip(names, own, strict=True) for _ in values],
        "marker": {"color": "--ink", "size": 7, "symbol": "circle-open", "line": {"width": 1.5, "color": "--ink"}},
        "hovertemplate": "%{y}: %{x:.4f}<extra></extra>",
    }
    low, high = min(map(min, own)), max(map(max, own))
    margin = max(high - low, 0.01) * 0.15
    axis = plot_axis(f"{ON[on]}, of the kept student", range=[max(low - margin, 0.0), min(high + margin, 1.02)])
    methods = {**plot_axis(""), "showgrid": False, "type": "category", "ticks": ""}
    height = 130 + 28 * len(names)
    drawn = layout(xaxis=axis, yaxis=methods, height=height, bargap=0.35, margin={"l": 10, "r": 30, "t": 50, "b": 50})
    return {"data": [bars, dots], "layout": drawn, "buttons": STILL}


def cost_figure(found: Sequence[Line], on: str, best: str | None) -> Figure | None:
    """Accuracy of the kept student against training time, a point a method."""
    known = [line for line in found if line[f"{on}_selected"] is not None and line["train_seconds"] is not None]
    if not known:
        return None
    texts = [escaped(line["method"]) for line in known]
    seconds, accuracies = [line["train_seconds"] for line in known], [line[f"{on}_selected"] for line in known]
    scale = "log" if logarithmic(seconds) else "linear"
    points = {
        "type": "scatter",
        "mode": "markers+text",
        "x": seconds,
        "y": accuracies,
        "text": texts,
        "textposition": places([_scaled(seconds, log=scale == "log"), _scaled(accuracies)], texts),
        "textfont": {"color": "--ink", "size": 12},
        "cliponaxis": False,
        "marker": {"size": 11, "color": [_shade(line["method"], best) for line in known]},
        "hovertext": [_hover(line, on) for line in known],
        "hoverinfo": "text",
    }
    drawn = layout(
        xaxis=plot_axis("training seconds of a run", type=scale), yaxis=plot_axis(ON[on]), height=520, showlegend=False
    )
    return {"data": [points], "layout": drawn, "buttons": ZOOM}


def curves_figure(found: Sequence[Line], curves: Sequence[Row], on: str, best: str | None) -> Figure | None:
    """Mean accuracy over the epochs, a line a method; the best, equal weights and the oracle stand out."""
    traces: list[Figure] = []
    looks = itertools.cycle(itertools.product(_DASHES, _LINES))
    for line in found:
        own: dict[int, list[float]] = {}
        for row in curves:
            if row["method"] == line["method"] and row[on] is not None:
                own.setdefault(row["epoch"], []).append(row[on])
        if own:
            marked = line["method"] in (best, BASELINE, ORACLE)
            look = _marked(line["method"], best) if marked else next(looks)
            traces.append(_curve(line["method"], own, look, width=3 if line["method"] == best else 1.5))
    if not traces:
        return None
    drawn = layout(xaxis=plot_axis("epochs done", rangemode="tozero"), yaxis=plot_axis(ON[on]), height=460)
    return {"data": traces, "layout": drawn, "buttons": ZOOM}


_DASHES = ("solid", "dashdot", "longdash", "longdashdot", "5px,2px", "1px,4px")
_LINES = ("--line-a", "--line-b", "--line-c", "--line-d", "--line-e", "--line-f")
"""More methods than there are colours differ by their dashes; after all of these, names under the pointer tell."""


def _marked(method: str, best: str | None) -> tuple[str, str]:
    return {BASELINE: "dash", ORACLE: "dot"}.get(method, "solid"), _shade(method, best)


def _curve(method: str, own: Mapping[int, Sequence[float]], look: tuple[str, str], width: float) -> Figure:
    epochs = sorted(own)
    return {
        "type": "scatter",
        "mode": "lines",
        "name": escaped(method),
        "x": epochs,
        "y": [statistics.fmean(own[epoch]) for epoch in epochs],
        "line": {"width": width, "dash": look[0], "color": look[1]},
        "hovertemplate": "%{fullData.name} after epoch %{x}: %{y:.4f}<extra></extra>",
    }


def _scaled(values: Sequence[float], *, log: bool = False) -> list[float]:
    """From 0 to 1, as far along an axis as they stand."""
    along = [math.log(value) for value in values] if log else list(values)
    low, high = min(along), max(along)
    return [(value - low) / (high - low) if high > low else 0.5 for value in along]


def _shade(method: str, best: str | None) -> str:
    return {BASELINE: "--base", ORACLE: "--muted", best: "--best"}.get(method, "--accent")


def _hover(line: Line, on: str) -> str:
    figures = f"{ON[on]} {figure_text(line[f'{on}_selected'])}, {duration_text(line['train_seconds'])}"
    return f"<b>{escaped(line['method'])}</b><br>{figures}"
