"""How far samples were believed: mean weights, effective sample size, utilisation, and histograms over time."""

from __future__ import annotations

import numpy as np

from ray_mentor.report.page.drawing import STILL, Figure, escaped, layout, numbers, plot_axis
from ray_mentor.report.run.figures.lines import ALL, RIGHT, WRONG, line, over_epochs
from ray_mentor.report.run.ledger_facts import BARS, LedgerFacts, means

MOST_CLASSES = 100


def groups(facts: LedgerFacts) -> list[tuple[int, str, str]]:
    """Which rows are drawn together: their place, what they are, and their colour."""
    return [(0, "right labels", RIGHT), (1, "wrong labels", WRONG)] if facts.truth else [(0, "all samples", ALL)]


def belief_figure(facts: LedgerFacts) -> Figure | None:
    """Mean scored weight over the epochs."""
    traces = [
        line(f"mean weight of {says}", means(facts.scored[:, place], facts.count[:, place]), shade)
        for place, says, shade in groups(facts)
    ]
    return over_epochs(traces, "sample weight", range=[-0.02, 1.02])


def use_figure(facts: LedgerFacts) -> Figure | None:
    """(Σw)²/(n·Σw²) and Σw/n of each epoch, and Σw/n of all so far."""
    count, weight, square = (total.sum(axis=1) for total in (facts.count, facts.weight, facts.square))
    traces = [
        line("effective sample size, as a share of the samples", means(weight**2, count * square), "--line-a"),
        line("data utilisation of the epoch", means(weight, count), "--line-b"),
        line("data utilisation so far", means(np.cumsum(weight), np.cumsum(count)), "--line-b", "dash"),
    ]
    return over_epochs(traces, "share of the samples", range=[-0.02, 1.04])


def histogram_figure(facts: LedgerFacts) -> Figure:
    """Samples by the weight that they were given, a frame a stretch of epochs."""
    width = 1 / BARS
    frames = []
    for frame in range(facts.frames):
        total = facts.bars[frame].sum()
        traces = [
            {
                "type": "bar",
                "name": says,
                "x": [round((bar + 0.5) * width, 4) for bar in range(BARS)],
                "y": [round(value, 5) for value in (facts.bars[frame, place] / max(total, 1)).tolist()],
                "width": width * 0.9,
                "marker": {"color": shade},
                "hovertemplate": f"%{{y:.1%}} of rows: {says}, weight %{{x}}<extra></extra>",
            }
            for place, says, shade in groups(facts)
        ]
        frames.append({"label": facts.frame_text(frame), "data": traces})
    weights = plot_axis("sample weight", range=[0, 1])
    shares = plot_axis("share of samples", rangemode="tozero", tickformat=".0%")
    look = layout(xaxis=weights, yaxis=shares, height=340, barmode="stack", showlegend=True)
    return {"data": [], "frames": frames, "layout": look, "buttons": STILL}


def classes_figure(facts: LedgerFacts, names: list[str] | None) -> Figure | None:
    """Mean scored weight by given label, over the epochs."""
    shown = min(facts.class_count.shape[1], MOST_CLASSES)
    values = means(facts.class_scored, facts.class_count)[:, :shown].T
    texts = [escaped(names[label] if names else label, 24) for label in range(shown)]
    heat = {
        "type": "heatmap",
        "x": list(range(1, facts.epochs + 1)),
        "y": list(range(shown)),
        "z": [[None if each is None else round(each, 3) for each in numbers(row)] for row in values.tolist()],
        "zmin": 0,
        "zmax": 1,
        "colorscale": SCALE,
        "colorbar": bar_beside("weight"),
        "hovertemplate": "epoch %{x}, class %{y}: %{z:.3f}<extra></extra>",
    }
    few = len(texts) <= 40
    ticks = {"tickvals": list(range(shown)), "ticktext": texts} if few else {}
    look = layout(
        xaxis=plot_axis("epoch"),
        yaxis={**given_axis(), **ticks},
        height=150 + max(160, (22 if few else 6) * shown),
    )
    return {"data": [heat], "layout": look, "buttons": STILL}


SCALE = [[0.0, "--scale-low"], [0.5, "--scale-middle"], [1.0, "--scale-high"]]


def given_axis() -> Figure:
    """The axis of given labels, the first on top; its title stands clear of long names."""
    axis = plot_axis("given label", autorange="reversed")
    return {**axis, "title": {**axis["title"], "standoff": 12}}


def bar_beside(title: str) -> Figure:
    """A colour bar's look."""
    return {
        "title": {"text": title, "font": {"color": "--muted", "size": 12}},
        "tickfont": {"color": "--muted", "size": 11},
        "thickness": 12,
        "outlinewidth": 0,
    }
