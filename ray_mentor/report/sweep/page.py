"""One HTML page of a sweep: what was searched, what was found, and whether it is really better.

It holds all that it shows, plotly.js too, and a policy under which a browser fetches nothing for it, and runs the three
scripts that are written here alone.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pandas as pd
from plotly.offline import get_plotlyjs

from ray_mentor.report.sweep.figures.bars import importance_figure
from ray_mentor.report.sweep.figures.curves import curves_figure
from ray_mentor.report.sweep.figures.drawing import Figure
from ray_mentor.report.sweep.figures.parallel import parallel_figure
from ray_mentor.report.sweep.figures.pareto import pareto_figure
from ray_mentor.report.sweep.head import head
from ray_mentor.report.sweep.html import escaped, objective_html, script_source
from ray_mentor.report.sweep.importance import importances
from ray_mentor.report.sweep.style import CSS, DRAW, WATCH
from ray_mentor.report.sweep.tables import best_section, errors_section
from ray_mentor.report.sweep.trials import whole

_POLICY = (  # plotly.js compiles what draws parallel coordinates
    "default-src 'none'; script-src {scripts} 'unsafe-eval'; style-src 'unsafe-inline'; img-src data: blob:; "
    "base-uri 'none'; form-action 'none'"
)
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
        _foot(sweep),
    ]
    drawn = {name: figure for name, figure in figures.items() if figure is not None}
    return _document(f"Sweep of {escaped(sweep['space'])}", "\n".join(sections), drawn)


def _figures(trials: pd.DataFrame, curves: pd.DataFrame, sweep: Mapping[str, Any]) -> dict[str, Figure | None]:
    shares = importances(trials)
    return {
        "pareto": pareto_figure(trials, sweep),
        "importance": importance_figure(shares),
        "parallel": parallel_figure(trials, sweep, shares),
        "curves": curves_figure(trials, curves, sweep),
    }


def _document(title: str, body: str, figures: Mapping[str, Figure]) -> str:
    plotly = get_plotlyjs()
    policy = _POLICY.format(scripts=" ".join(map(script_source, (WATCH, plotly, DRAW))))
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{policy}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>{CSS}</style>
</head>
<body>
<main>
{body}
</main>
<script>{WATCH}</script>
<script type="application/json" id="figures">{_json(figures)}</script>
<script>{plotly}</script>
<script>{DRAW}</script>
</body>
</html>
"""


def _json(figures: Mapping[str, Figure]) -> str:
    """JSON that no text in it can end the script element of."""
    return json.dumps(figures, allow_nan=False).replace("<", "\\u003c")


def _section(name: str, title: str, caption: str, figure: Figure | None, lacks: str, width: int = 0) -> str:
    if figure is None:
        return f'<section><h2>{title}</h2><p class="caption">{lacks}</p></section>'
    size = f"height: {figure['layout']['height']}px; min-width: {width}px"
    drawn = f'<div class="wide"><div id="{name}" style="{size}"></div></div>'
    return f'<section><h2>{title}</h2><p class="caption">{caption}</p>{drawn}</section>'


def _pareto_section(figure: Figure | None, sweep: Mapping[str, Any]) -> str:
    baseline = " The diamond is the same run with equal sample weights." if sweep.get("baseline") else ""
    caption = (
        "The line joins the trials that no other beats in both; failed trials and those whose mentor collapsed are "
        f"left out of it. Seconds are projected to the whole run for trials that ended early.{baseline}"
    )
    return _section("pareto", "Accuracy against time", caption, figure, "No trial has an accuracy to draw.")


def _importance_section(figure: Figure | None) -> str:
    caption = (
        "By fANOVA: a random forest learns the objective from the settings, and a bar is the share of its variance "
        "over the searched ranges that a setting explains alone; what the bars leave of 100 % is explained only by "
        "settings together. Trials that were stopped early count with their last value. With few trials it is rough."
    )
    lacks = "Importances need at least four trials with different objectives, and a setting that varies."
    return _section("importance", "Which settings matter", caption, figure, lacks)


def _parallel_section(figure: Figure | None, sweep: Mapping[str, Any]) -> str:
    caption = (
        f"A line a trial; the stronger its colour, the higher its {objective_html(sweep)}, which stands at the left, "
        "the settings that matter most beside it. Drag along an axis to keep only the trials that pass there; drag an "
        "axis's name to move it. – is where another setting makes this one meaningless."
    )
    lacks = "No trial has an objective to draw."
    return _section("parallel", "Settings of all trials", caption, figure, lacks, _least_width(figure))


def _least_width(parallel: Figure | None) -> int:
    """Pixels that the tick texts of all axes need side by side."""
    axes = parallel["data"][0]["dimensions"] if parallel else []
    longest = max((len(text) for axis in axes for text in axis["ticktext"]), default=0)
    return len(axes) * max(_AXIS, _CHARACTER * longest + 30)


def _curves_section(figure: Figure | None) -> str:
    caption = "A line a trial; those that did not go to the end are faded."
    return _section("curves", "Learning curves", caption, figure, "No trial got through an epoch.")


def _foot(sweep: Mapping[str, Any]) -> str:
    versions = sweep.get("versions") or {}
    said = ", ".join(f"{escaped(name)} {escaped(version)}" for name, version in versions.items())
    return f"<footer>Made by ray_mentor{f' with {said}' if said else ''}.</footer>"
