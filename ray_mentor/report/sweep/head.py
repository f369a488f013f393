"""The head of a sweep's page, in plain words: what was searched, what was found, is it really better."""

from __future__ import annotations

import html
from collections.abc import Mapping
from typing import Any

import pandas as pd

from ray_mentor.report.page.html import code, escaped
from ray_mentor.report.page.words import duration_text, figure_text, listed_text, numbered, setting_texts
from ray_mentor.report.sweep.html import objective_html, state_html
from ray_mentor.report.sweep.trials import counts, rows_of, setting_names, settings_of
from ray_mentor.report.sweep.words import verdict_text


def head(trials: pd.DataFrame, sweep: Mapping[str, Any]) -> str:
    """The title, three sentences, and how many trials are in each state."""
    settings = numbered(len(setting_names(trials)), "setting")
    states = "".join(f"<li><b>{count}</b>{state_html(state)}</li>" for state, count in counts(trials).items())
    verdict = f"<b>Is it really better?</b> {html.escape(verdict_text(sweep.get('confirm')))}"
    return f"""<header>
<h1>Sweep of {escaped(sweep["space"])}: {numbered(len(trials), "trial")} of {settings}</h1>
<p>{_searched(trials, sweep)}</p>
<p>{_found(trials, sweep)}</p>
<p class="verdict {_verdict_class(sweep)}">{verdict}</p>
<ul class="counts">{states}</ul>
<p id="problems"></p>
<noscript><p>The figures are drawn by a script in this page, and scripts are switched off.</p></noscript>
</header>"""


def _searched(trials: pd.DataFrame, sweep: Mapping[str, Any]) -> str:
    names = listed_text([code(name) for name in setting_names(trials)]) or "nothing"
    how = [
        f"search {escaped(sweep['search'])}",
        f"scheduler {escaped(sweep['scheduler'])}",
        f"seed {escaped(sweep['seed'])}",
        numbered(int(sweep["epochs"]), "epoch"),
        f"{numbered(int(sweep['concurrent']), 'trial')} at a time",
        f"{duration_text(sweep['seconds'])} in all",
    ]
    return f"Searched {names} for the highest {_GOALS.get(sweep['objective'], 'objective')}: {', '.join(how)}."


_GOALS = {
    "accuracy": "accuracy on held-out trusted samples",
    "gap-per-cost": "gap closed per cost (by how much the accuracy on held-out trusted samples lies above that of "
    "equal sample weights, over the ratio of their training times)",
}


def _found(trials: pd.DataFrame, sweep: Mapping[str, Any]) -> str:
    best = sweep.get("best")
    if best is None:
        return "Found nothing: no trial got as far as an objective."
    rows = rows_of(trials[trials["trial"] == best["trial"]])
    settings = settings_of(rows[0]) if rows else best["settings"]
    reached = ", ".join([*_figures(best, rows, sweep), *_equal_weights(sweep)])
    return (
        f"Found trial <b>{escaped(best['trial'])}</b> with {reached}: {', '.join(map(code, setting_texts(settings)))}."
    )


def _figures(best: Mapping[str, Any], rows: list[dict[Any, Any]], sweep: Mapping[str, Any]) -> list[str]:
    figures = [f"{objective_html(sweep)} <b>{figure_text(best['objective'])}</b>"]
    for row in rows:
        if sweep["objective"] != "accuracy":
            figures.append(f"accuracy on held-out trusted samples {figure_text(row['accuracy'])}")
        figures.append(f"{duration_text(row['seconds'])} of training")
    return figures


def _equal_weights(sweep: Mapping[str, Any]) -> list[str]:
    baseline = sweep.get("baseline")
    if baseline is None:
        return []
    accuracy, seconds = figure_text(baseline["accuracy"]), duration_text(baseline["seconds"])
    return [f"where equal sample weights reach {accuracy} in {seconds}"]


def _verdict_class(sweep: Mapping[str, Any]) -> str:
    verdict = (sweep.get("confirm") or {}).get("verdict")
    return verdict if verdict in ("better", "worse") else "open"
