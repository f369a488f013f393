"""One HTML page of a sweep: what was searched, what was found, and whether it is really better."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd

from ray_mentor.report.page.document import document, foot, section
from ray_mentor.report.page.drawing import Figure
from ray_mentor.report.page.html import escaped
from ray_mentor.report.sweep.figures.bars import importance_figure
from ray_mentor.report.sweep.figures.curves import curves_figure
from ray_mentor.report.sweep.figures.parallel import parallel_figure
from ray_mentor.report.sweep.figures.pareto import pareto_figure
from ray_mentor.report.sweep.head import head
from ray_mentor.report.sweep.html import objective_html
from ray_mentor.report.sweep.importance import importances
from ray_mentor.report.sweep.tables import best_section, errors_section
from ray_mentor.report.sweep.trials import whole

_AXIS, _CHARACTER = 105, 6  # pixels, at least, from one axis of parallel coordinates to the next, and of a tick's text


def page(trials: pd.DataFrame, curves: pd.DataFrame, sweep: Mapping[str, Any]) -> str:
    """The whole page.

    Args:
        trials: a row a trial: ``trial``, ``state``, ``epochs_done``, ``objective``, ``accuracy``, ``seconds``,
            ``error``, ``path`` and ``setting.NAME`` for each searched setting.
        curves: a row a trial and epoch: ``trial``, ``epoch``, ``accuracy``.
        sweep: what ``sweep.json`` holds.
    """
    trials = whole(trials)
    figures = _figures(trials, curves, sweep)
    sections = [
        head(trials, sweep),
        _pareto_section(figures["pareto"], sweep),
        best_section(trials, sweep),
        _importance_section(figures["importance"]),
        _parallel_section(figures["parallel"], sweep),
        _curves_section(figures["curves"]),
        errors_section(trials),
        foot(sweep.get("versions") or {}),
    ]
    drawn = {name: figure for name, figure in figures.items() if figure is not None}
    return document(f"Sweep of {escaped(sweep['space'])}", "\n".join(sections), drawn)


def _figures(trials: pd.DataFrame, curves: pd.DataFrame, sweep: Mapping[str, Any]) -> dict[str, Figure | None]:
    shares = importances(trials)
    return {
        "pareto": pareto_figure(trials, sweep),
        "importance": importance_figure(shares),
        "parallel": parallel_figure(trials, sweep, shares),
        "curves": curves_figure(trials, curves, sweep),
    }


def _pareto_section(figure: Figure | None, sweep: Mapping[str, Any]) -> str:
    baseline = " The diamond is the same run with equal sample weights." if sweep.get("baseline") else ""
    caption = (
        "The line joins the trials that no other beats in both; failed trials and those whose mentor collapsed are "
        f"left out of it. Seconds are projected to the whole run for trials that ended early.{baseline}"
    )
    return section("pareto", "Accuracy against time", caption, figure, "No trial has an accuracy to draw.")


def _importance_section(figure: Figure | None) -> str:
    caption = (
        "By fANOVA: a random forest learns the objective from the settings, and a bar is the share of its variance "
        "over the searched ranges that a setting explains alone; what the bars leave of 100 % is explained only by "
        "settings together. Trials that were stopped early count with their last value. With few trials it is rough."
    )
    lacks = "Importances need at least four trials with different objectives, and a setting that varies."
    return section("importance", "Which settings matter", caption, figure, lacks)


def _parallel_section(figure: Figure | None, sweep: Mapping[str, Any]) -> str:
    caption = (
        f"A line a trial; the stronger its colour, the higher its {objective_html(sweep)}, which stands at the left, "
        "the settings that matter most beside it. Drag along an axis to keep only the trials that pass there; drag an "
        "axis's name to move it. – is where another setting makes this one meaningless."
    )
    lacks = "No trial has an objective to draw."
    return section("parallel", "Settings of all trials", caption, figure, lacks, _least_width(figure))


def _least_width(parallel: Figure | None) -> int:
    """Pixels that the tick texts of all axes need side by side."""
    axes = parallel["data"][0]["dimensions"] if parallel else []
    longest = max((len(text) for axis in axes for text in axis["ticktext"]), default=0)
    return len(axes) * max(_AXIS, _CHARACTER * longest + 30)


def _curves_section(figure: Figure | None) -> str:
    caption = "A line a trial; those that did not go to the end are faded."
    return section("curves", "Learning curves", caption, figure, "No trial got through an epoch.")
