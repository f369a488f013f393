"""What a sweep's table of trials holds, whoever shows it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from ray_mentor.report.sweep.words import OUT, STATES

COLUMNS = ("trial", "state", "epochs_done", "objective", "accuracy", "seconds", "error", "path")
_SETTING = "setting."


def whole(trials: pd.DataFrame) -> pd.DataFrame:
    """The table with every column there and whatever is missing as None, or NaN among numbers."""
    names = [*COLUMNS, *(name for name in trials.columns if name not in COLUMNS)]
    table = trials.reset_index(drop=True).reindex(columns=names)
    return pd.DataFrame({name: _cleaned(table[name]) for name in names})


def _cleaned(column: pd.Series[Any]) -> pd.Series[Any]:
    if column.name in _FIGURES:
        return pd.to_numeric(column).astype(float)
    return pd.Series(_with_none(column), dtype=object)


_FIGURES = ("objective", "accuracy", "seconds", "epochs_done")


def _with_none(column: pd.Series[Any]) -> list[Any]:
    return [None if missing else plain(value) for value, missing in zip(column, column.isna(), strict=True)]


def rows_of(trials: pd.DataFrame) -> list[dict[Any, Any]]:
    """A dict a trial."""
    rows: list[dict[Any, Any]] = trials.to_dict("records")
    return rows


def setting_names(trials: pd.DataFrame) -> list[str]:
    """The searched settings, in the table's order."""
    return [str(name).removeprefix(_SETTING) for name in trials.columns if str(name).startswith(_SETTING)]


def setting_values(trials: pd.DataFrame, name: str) -> list[Any]:
    """A setting's value in every trial; None where it is meaningless."""
    return _with_none(trials[_SETTING + name])


def settings_of(row: Mapping[Any, Any]) -> dict[str, Any]:
    """One trial's settings, those left out that another makes meaningless."""
    named = {name.removeprefix(_SETTING): plain(row[name]) for name in row if name.startswith(_SETTING)}
    return {name: value for name, value in named.items() if value is not None}


def plain(value: Any) -> Any:
    """A Python value instead of NumPy's, and None for NaN: an empty place in a column of numbers."""
    if isinstance(value, np.generic):
        value = value.item()
    return None if isinstance(value, float) and math.isnan(value) else value


def counts(trials: pd.DataFrame) -> dict[str, int]:
    """How many trials are in each state that occurs, in the order of :data:`STATES`."""
    found = trials["state"].value_counts()
    order = [*STATES, *(state for state in found.index if state not in STATES)]
    return {state: int(found[state]) for state in order if state in found}


def candidates(trials: pd.DataFrame) -> pd.DataFrame:
    """The trials that could be the answer: with an objective, neither failed nor collapsed.

    Those that went to the end come first, the best of them on top.
    """
    able = trials[np.isfinite(trials["objective"]) & ~trials["state"].isin(OUT)]
    ranked = able.sort_values("objective", ascending=False, kind="stable")
    finished = ranked["state"] == "finished"
    in_order: pd.DataFrame = pd.concat([ranked[finished], ranked[~finished]])
    return in_order
