"""What a table of trials holds, however pandas keeps what is missing."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest

from ray_mentor.report.sweep.trials import (
    COLUMNS,
    candidates,
    counts,
    rows_of,
    setting_names,
    setting_values,
    settings_of,
    whole,
)


@pytest.mark.parametrize(
    "values",
    [
        pd.Series([1.5, None]),
        pd.Series([1.5, None], dtype=object),
        pd.Series([1.5, pd.NA], dtype=object),
        pd.Series([1.5, pd.NA], dtype="Float64"),
        pd.Series([np.float32(1.5), np.nan], dtype=object),
    ],
)
def test_what_is_missing_is_none(values: pd.Series) -> None:
    trials = whole(pd.DataFrame({"setting.a": values, "setting.b": ["x", None]}))
    assert setting_names(trials) == ["a", "b"]
    assert (setting_values(trials, "a"), setting_values(trials, "b")) == ([1.5, None], ["x", None])
    assert [settings_of(row) for row in rows_of(trials)] == [{"a": 1.5, "b": "x"}, {}]
    assert all(type(value) in (float, type(None)) for value in setting_values(trials, "a"))


def test_every_column_is_there() -> None:
    trials = whole(pd.DataFrame({"trial": ["a"]}, index=[7]))
    assert list(trials.columns) == list(COLUMNS)
    [row] = rows_of(trials)
    assert row["trial"] == "a"
    assert row["error"] is None
    assert math.isnan(row["objective"])


def test_candidates_are_those_that_can_be_the_answer() -> None:
    states = ["stopped", "finished", "failed", "hopeless", "finished", "unfinished", "finished"]
    objective = [0.9, 0.5, 0.99, 0.98, 0.7, 0.95, math.nan]
    trials = whole(pd.DataFrame({"trial": list("abcdefg"), "state": states, "objective": objective}))
    assert list(candidates(trials)["trial"]) == ["e", "b", "f", "a"]


def test_counts_of_states() -> None:
    trials = pd.DataFrame({"state": ["odd", "failed", "finished", "failed"]})
    assert list(counts(trials).items()) == [("finished", 1), ("failed", 2), ("odd", 1)]
