"""Importances as bars."""

from __future__ import annotations

from collections.abc import Mapping

from ray_mentor.report.page.drawing import STILL, Figure, escaped, layout, plot_axis


def importance_figure(importances: Mapping[str, float] | None) -> Figure | None:
    """A bar a setting, the longest on top."""
    if importances is None:
        return None
    names, shares = list(importances)[::-1], list(importances.values())[::-1]
    bars = {
        "type": "bar",
        "orientation": "h",
        "x": shares,
        "y": [escaped(name) for name in names],
        "text": [f"{share:.0%}" for share in shares],
        "textposition": "outside",
        "cliponaxis": False,
        "marker": {"color": "--accent"},
        "hoverinfo": "skip",
    }
    share = plot_axis("share of the objective's variance", range=[0, max(shares) * 1.12 or 1], tickformat=".0%")
    settings = {**plot_axis(""), "showgrid": False, "type": "category", "ticks": ""}
    height = 124 + 30 * len(names)
    drawn = layout(xaxis=share, yaxis=settings, height=height, bargap=0.35, margin={"l": 10, "r": 40, "t": 34, "b": 50})
    return {"data": [bars], "layout": drawn, "buttons": STILL}
