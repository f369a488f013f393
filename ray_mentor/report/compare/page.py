"""One HTML page of a comparison: what to take, and the evidence for it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ray_mentor.report.compare.figures import Row, accuracy_figure, cost_figure, curves_figure
from ray_mentor.report.compare.labels import WIDTH
from ray_mentor.report.compare.tables import ON, Line, failures_section, level_text, of_level, table_section
from ray_mentor.report.page.document import document, foot, section
from ray_mentor.report.page.drawing import Figure
from ray_mentor.report.page.html import escaped
from ray_mentor.report.page.words import duration_text, listed_text, numbered

_LONG = 1000  # characters of an advice or a note


def page(found: Sequence[Line], runs: Sequence[Row], curves: Sequence[Row], comparison: Mapping[str, Any]) -> str:
    """The whole page.

    Args:
        found: a line a level and method.
        runs: a row a run.
        curves: a row a run and epoch.
        comparison: what ``compare.json`` holds.
    """
    on, levels = comparison["on"], comparison["levels"]
    sections, figures = [_head(comparison)], {}
    for number, level in enumerate(levels):
        own = of_level(found, level["level"])
        drawn = {
            f"accuracy{number}": accuracy_figure(own, of_level(runs, level["level"]), on, level["best"]),
            f"cost{number}": cost_figure(own, on, level["best"]),
            f"curves{number}": curves_figure(own, of_level(curves, level["level"]), on, level["best"]),
        }
        sections.append(_level(number, own, level, comparison, drawn))
        figures.update({name: figure for name, figure in drawn.items() if figure is not None})
    sections += [failures_section(found), foot(comparison["versions"])]
    return document(f"Methods on {escaped(comparison['data'])}", "\n".join(sections), figures)


def _head(comparison: Mapping[str, Any]) -> str:
    seeds = listed_text([escaped(seed) for seed in comparison["seeds"]])
    methods = numbered(len({line["method"] for line in comparison["lines"]}), "method")
    how = [
        f"student {escaped(comparison['student'])}",
        numbered(int(comparison["epochs"]), "epoch"),
        f"{'seed' if len(comparison['seeds']) == 1 else 'seeds'} {seeds}",
        f"{duration_text(comparison['seconds'])} in all",
    ]
    notes = "".join(f"<p>{escaped(note, _LONG)}</p>" for note in comparison["notes"])
    return f"""<header>
<h1>{methods} on {escaped(comparison["data"])}</h1>
<p>With the same splits, schedule and initial student at each seed, and the same trusted samples in training, but for
uniform, which has none: {", ".join(how)}.</p>
{notes}
<p id="problems"></p>
<noscript><p>The figures are drawn by a script in this page, and scripts are switched off.</p></noscript>
</header>"""


def _level(
    number: int,
    found: Sequence[Line],
    level: Mapping[str, Any],
    comparison: Mapping[str, Any],
    drawn: Mapping[str, Figure | None],
) -> str:
    on = comparison["on"]
    title = escaped(level_text(level["level"])) if len(comparison["levels"]) > 1 else "What to take"
    shade = "better" if level.get("verdict") == "better" else "open"
    lacks = "No run has an accuracy to draw."
    table = table_section(f"table{number}", found, on, comparison["says"], level["best"])
    caption = (
        f"Accuracy is {ON[on]}, mean and standard deviation over seeds of the last epoch's student; gap, order and "
        "figures go by the student that is kept. Gap closed: the share of the way from uniform-trusted to oracle. "
        "× plain: training time over that of uniform-trusted."
    )
    return "\n".join(
        [
            f'<section><h2>{title}</h2><p class="verdict {shade}">{escaped(level["text"], _LONG)}</p>',
            f'<p class="caption">{caption}</p>{table}</section>',
            section(
                f"accuracy{number}",
                "Accuracy",
                "A bar a mean, a dot a seed; the axis does not begin at 0.",
                drawn[f"accuracy{number}"],
                lacks,
            ),
            section(f"cost{number}", "Accuracy against time", _COST, drawn[f"cost{number}"], lacks, WIDTH),
            section(f"curves{number}", "Learning curves", _CURVES, drawn[f"curves{number}"], lacks),
        ]
    )


_COST = "A point a method, the mean over seeds. Runs lay side by side, so that seconds are those of a busy machine."
_CURVES = "A line a method, the mean over seeds."
