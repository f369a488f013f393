"""The tables of a sweep's page: the best trials, and what went wrong in failed ones."""

from __future__ import annotations

import html
from collections.abc import Mapping
from typing import Any

import pandas as pd

from ray_mentor.errors import printable
from ray_mentor.report.page.html import breaking, code, escaped
from ray_mentor.report.page.words import duration_text, figure_text, value_text
from ray_mentor.report.sweep.html import objective_html, state_html
from ray_mentor.report.sweep.trials import candidates, plain, rows_of, setting_names

_BEST = 10  # trials
_ERRORS = 20  # of trials; more are counted
_LONGEST = 4000  # characters of an error


def best_section(trials: pd.DataFrame, sweep: Mapping[str, Any]) -> str:
    """The ten best trials with their settings; nothing where there is none."""
    best = rows_of(candidates(trials).head(_BEST))
    if not best:
        return ""
    names = setting_names(trials)
    rows = "\n".join(_row(row, names, sweep) for row in best)
    return f"""<section><h2>Best trials</h2>
<p class="caption">At most ten: those that went to the end first, then by {objective_html(sweep)}.</p>
<div class="wide"><table id="best"><thead><tr>{_titles(names)}</tr></thead><tbody>
{rows}
</tbody></table></div></section>"""


def _titles(names: list[str]) -> str:
    figures = "".join(f'<th class="number">{name}</th>' for name in ("objective", "accuracy", "epochs", "time"))
    settings = "".join(f'<th class="setting">{breaking(name)}</th>' for name in names)
    return f"<th>trial</th><th>state</th>{figures}{settings}<th>run directory</th>"


def _row(row: Mapping[Any, Any], names: list[str], sweep: Mapping[str, Any]) -> str:
    best = sweep.get("best")
    marked = ' class="best"' if best is not None and best["trial"] == row["trial"] else ""
    settings = [value_text(plain(row[f"setting.{name}"])) for name in names]
    cells = [
        f"<td>{escaped(row['trial'])}</td><td>{state_html(row['state'])}</td>",
        *(f'<td class="number">{figure}</td>' for figure in _figures(row)),
        *(f"<td>{escaped(text)}</td>" for text in settings),
        f"<td>{code(row['path'] or '–')}</td>",
    ]
    return f"<tr{marked}>{''.join(cells)}</tr>"


def _figures(row: Mapping[Any, Any]) -> list[str]:
    done = figure_text(row["epochs_done"], "{:.0f}")
    return [figure_text(row["objective"]), figure_text(row["accuracy"]), done, duration_text(row["seconds"])]


def errors_section(trials: pd.DataFrame) -> str:
    """The errors of failed trials; nothing where there are none."""
    failed = [row for row in rows_of(trials) if row["error"] is not None]
    if not failed:
        return ""
    more = f'<p class="caption">And {len(failed) - _ERRORS} more.</p>' if len(failed) > _ERRORS else ""
    return f"<section><h2>Errors</h2>{''.join(map(_error, failed[:_ERRORS]))}{more}</section>"


def _error(row: Mapping[Any, Any]) -> str:
    text = html.escape(printable(str(row["error"]))[-_LONGEST:])
    return f"<p>Trial {escaped(row['trial'])} {code(row['path']) if row['path'] else ''}</p><pre>{text}</pre>"
