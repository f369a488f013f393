"""What the mentor made of losses: what it said of samples as it learned, and what it would say on a grid."""

from __future__ import annotations

import numpy as np

from ray_mentor.report.page.drawing import STILL, Figure, layout, numbers, plot_axis
from ray_mentor.report.run.differences import Floats
from ray_mentor.report.run.figures.weights import SCALE, bar_beside, groups
from ray_mentor.report.run.ledger_facts import DIFFERENCES, LOSSES, WEIGHTS, LedgerFacts, means
from ray_mentor.report.run.policy_grid import Grid

_LOSS = "loss (nats), what is above is in the last cell"


def by_loss_figure(facts: LedgerFacts) -> Figure:
    """Where samples lie, by loss and the weight that they were given, and the mean weight at each loss."""
    wide = facts.highest / LOSSES
    frames = []
    for frame in range(facts.frames):
        lines = [_mean_line(facts, frame, place, says, shade) for place, says, shade in groups(facts)]
        frames.append({"label": facts.frame_text(frame), "data": [_cells(facts, frame), *lines]})
    look = layout(
        xaxis=plot_axis(_LOSS, range=[0, facts.highest + wide / 2]),
        yaxis=plot_axis("sample weight", range=[-0.02, 1.04]),
        height=420,
        showlegend=True,
    )
    return {"data": [], "frames": frames, "layout": look, "buttons": STILL}


def _cells(facts: LedgerFacts, frame: int) -> Figure:
    counts = facts.cells[frame].T
    shade = np.log10(np.maximum(counts, 1)) + 0.3
    wide = facts.highest / LOSSES
    return {
        "type": "heatmap",
        "x0": wide / 2,
        "dx": wide,
        "y0": 0.5 / WEIGHTS,
        "dy": 1 / WEIGHTS,
        "z": [
            [round(each, 1) if count else None for each, count in zip(row, own, strict=True)]
            for row, own in zip(shade.tolist(), counts.tolist(), strict=True)
        ],
        "zmin": 0,
        "zmax": max(float(shade.max()), 1.0),
        "colorscale": [[0.0, "--scale-low"], [1.0, "--scale-middle"]],
        "showscale": False,
        "hoverinfo": "skip",
    }


def _mean_line(facts: LedgerFacts, frame: int, place: int, says: str, shade: str) -> Figure:
    values = means(facts.loss_scored[frame, place], facts.loss_count[frame, place])
    return {
        "type": "scatter",
        "mode": "lines+markers",
        "name": f"mean weight of {says}",
        "x": [round((cell + 0.5) * facts.highest / LOSSES, 4) for cell in range(LOSSES)],
        "y": [None if value is None else round(value, 3) for value in numbers(values)],
        "line": {"color": shade, "width": 2},
        "marker": {"color": shade, "size": 5},
        "hovertemplate": f"{says} of loss %{{x:.2f}}: mean weight %{{y:.3f}}<extra></extra>",
    }


def plane_figure(facts: LedgerFacts) -> Figure:
    """Mean weight over loss and loss difference; empty where no sample was."""
    shown = _shown(facts)
    frames = [
        {
            "label": facts.frame_text(frame),
            "data": [_heat(facts, means(facts.plane_scored[frame], facts.plane_count[frame])[:, shown], shown)],
        }
        for frame in range(facts.frames)
    ]
    look = layout(xaxis=plot_axis(_LOSS), yaxis=plot_axis("loss difference (nats)"), height=420)
    return {"data": [], "frames": frames, "layout": look, "buttons": STILL}


def grid_figure(facts: LedgerFacts, grid: Grid) -> Figure:
    """What the mentor would say at the end, and beside it what it said to samples in the last stretch of epochs."""
    shown = _shown(facts)
    would = _heat(facts, grid.weights[:, shown], shown)
    said = _heat(facts, means(facts.plane_scored[-1], facts.plane_count[-1])[:, shown], shown)
    look = layout(
        xaxis=plot_axis("loss (nats): what it would say", domain=[0, 0.46]),
        yaxis=plot_axis("loss difference (nats)"),
        xaxis2=plot_axis(f"loss (nats): what it said, {facts.frame_text(facts.frames - 1)}", domain=[0.54, 1]),
        yaxis2=plot_axis("", anchor="x2", matches="y"),
        height=420,
    )
    data = [{**would, "showscale": False}, {**said, "xaxis": "x2", "yaxis": "y2"}]
    return {"data": data, "layout": look, "buttons": STILL}


def _shown(facts: LedgerFacts) -> slice:
    """The rows of loss differences that any sample is in."""
    there = np.flatnonzero(facts.plane_count.sum(axis=(0, 1)))
    return slice(int(there[0]), int(there[-1]) + 1)


def _heat(facts: LedgerFacts, weights: Floats, shown: slice) -> Figure:
    wide, high = facts.highest / LOSSES, 2 * facts.highest / DIFFERENCES
    return {
        "type": "heatmap",
        "x0": wide / 2,
        "dx": wide,
        "y0": -facts.highest + (shown.start + 0.5) * high,
        "dy": high,
        "z": [[None if each is None else round(each, 2) for each in numbers(row)] for row in weights.T.tolist()],
        "zmin": 0,
        "zmax": 1,
        "colorscale": SCALE,
        "colorbar": bar_beside("weight"),
        "hovertemplate": "loss %{x:.2f}, difference %{y:.2f}: weight %{z}<extra></extra>",
    }
