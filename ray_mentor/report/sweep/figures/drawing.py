"""What the figures of a sweep's page share: states, hover texts, the best trial."""

from __future__ import annotations

import html
from collections.abc import Iterator, Mapping
from typing import Any

import pandas as pd

from ray_mentor.report.page.drawing import escaped
from ray_mentor.report.page.words import duration_text, figure_text, setting_texts
from ray_mentor.report.sweep.trials import settings_of
from ray_mentor.report.sweep.words import STATES, state_text


def by_state(trials: pd.DataFrame) -> Iterator[tuple[str, pd.DataFrame]]:
    """The trials of each state; finished ones last: they are drawn above the others."""
    order = [*STATES, *(state for state in trials["state"].unique() if state not in STATES)]
    for state in reversed(order):
        rows = trials[trials["state"] == state]
        if not rows.empty:
            yield state, rows


def legend_rank(state: str) -> int:
    """Finished ones first."""
    return 1000 + [*STATES, state].index(state)


def hover_text(row: Mapping[Any, Any]) -> str:
    """What is shown of a trial under the pointer."""
    head = f"<b>trial {escaped(row['trial'])}</b>, {state_name(row['state'])}"
    figures = f"accuracy {figure_text(row['accuracy'])}, {duration_text(row['seconds'])}"
    settings = [html.escape(text, quote=False) for text in setting_texts(settings_of(row))]
    return "<br>".join([head, figures, *settings[:_MOST], *(["…"] if len(settings) > _MOST else [])])


_MOST = 20  # settings that fit under a pointer


def state_name(state: str) -> str:
    """A trial's state in plain words."""
    return html.escape(state_text(state), quote=False)


def best_trial(sweep: Mapping[str, Any]) -> str | None:
    """The id of the best trial, if there is one."""
    best = sweep.get("best")
    return None if best is None else best["trial"]
