"""The matrix given → suggested."""

from __future__ import annotations

import numpy as np

from ray_mentor.report.page.drawing import STILL, Figure, escaped, layout, plot_axis
from ray_mentor.report.run.figures.weights import bar_beside, given_axis
from ray_mentor.run.audit.audit import Audit

MOST_CLASSES = 100
_WRITTEN = 20  # classes up to which counts are written into the cells


def matrix_figure(audit: Audit) -> Figure | None:
    """Counts of samples that are taken for wrong; None without any, or of more than 100 classes."""
    classes = len(audit.classes)
    if audit.matrix is None or classes > MOST_CLASSES:
        return None
    counts = audit.matrix.T.copy()  # a row a given label
    np.fill_diagonal(counts, 0)
    if not counts.any():
        return None
    cells = [[count or None for count in row] for row in counts.tolist()]
    names = [escaped(name, 24) for name in audit.classes]
    heat = {
        "type": "heatmap",
        "x": list(range(classes)),
        "y": list(range(classes)),
        "z": cells,
        "zmin": 0,
        "zmax": int(counts.max()),  # alone the other is not heeded
        "colorscale": [[0.0, "--scale-low"], [1.0, "--scale-middle"]],
        "colorbar": bar_beside("samples"),
        "hovertemplate": "given %{y}, suggested %{x}: %{z} samples<extra></extra>",
        **({"texttemplate": "%{z}", "textfont": {"color": "--ink"}} if classes <= _WRITTEN else {}),
    }
    ticks = {"tickvals": list(range(classes)), "ticktext": names} if classes <= 2 * _WRITTEN else {}
    look = layout(
        xaxis={**plot_axis("suggested label"), **ticks},
        yaxis={**given_axis(), **ticks},
        height=min(170 + 26 * classes, 800),
    )
    return {"data": [heat], "layout": look, "buttons": STILL}
