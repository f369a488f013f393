"""A sweep's page in a real browser: every figure draws its marks, nothing fails, nothing is fetched."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from browser import CHROMIUM, DARK, opened, running_its_scripts
from made_sweeps import made_sweep, made_trials

from ray_mentor.report.sweep.page import page

pytestmark = [
    pytest.mark.slow,  # a browser for each; that of a run's page is opened by `make test`
    pytest.mark.skipif(
        CHROMIUM is None,
        reason="a page is opened in no browser, since there is no chromium, chromium-browser or google-chrome",
    ),
]

ALL = ["pareto", "importance", "parallel", "curves"]


def whole_page(count: int, **changes: Any) -> str:
    trials, curves = made_trials(count)
    return page(trials, curves, made_sweep(trials, **changes))


def test_every_figure_draws_all_its_marks(tmp_path: Path) -> None:
    trials, curves = made_trials(64)
    seen = opened(page(trials, curves, made_sweep(trials)), tmp_path)
    with_figures = int(np.isfinite(trials["accuracy"]).sum())
    settings = {name.removeprefix("setting.") for name in trials if name.startswith("setting.")}
    assert seen["problems"] == ""
    assert seen["drawn"] == ALL
    assert seen["pareto_points"] == with_figures + 2, "the trials, a ring around the best, equal weights"
    assert seen["pareto_lines"] == 1
    assert seen["bars"] == len(settings)
    assert set(seen["bar_names"]) == settings
    assert seen["axes"][0] == "accuracy on held-out trusted samples"
    assert set(seen["axes"]) == {"accuracy on held-out trusted samples", *settings}
    assert {"true", "false", "mentornet", "self-paced", "–"} <= set(seen["ticks"])
    assert seen["painted"][0] > 10_000, "pixels of lines"
    assert seen["curve_points"] == len(curves)


def test_in_the_dark_the_page_and_its_figures_are_dark(tmp_path: Path) -> None:
    seen = opened(whole_page(4), tmp_path, DARK)
    assert seen["problems"] == ""
    assert seen["page"] == "rgb(21, 23, 27)"
    assert "rgb(21, 23, 27)" in seen["paper"]
    assert "rgb(255, 255, 255)" not in seen["paper"]


def test_a_sweep_of_one_trial(tmp_path: Path) -> None:
    seen = opened(whole_page(1, baseline=None, confirm=None), tmp_path)
    assert seen["problems"] == ""
    assert seen["there"] == seen["drawn"] == ["pareto", "parallel", "curves"]
    assert seen["pareto_points"] == 2, "the trial, and the ring around it"
    assert seen["painted"][0] > 100
    assert seen["curve_points"] == 20


HOSTILE = "</script><script>document.title='theirs'</script><img src=x onerror=\"document.title='theirs'\">"


def test_strings_are_shown_and_not_obeyed(tmp_path: Path) -> None:
    trials, curves = made_trials(8)
    strings = [HOSTILE, "<i>a</i>", "--accent", "%{x}", "&lt;", "\x1b]0;t\x07\n", "\ud800", "'\""]
    trials["setting.<b>name</b>"] = pd.Series(strings, dtype=object)  # pandas's own strings hold no half of a pair
    trials["state"] = ["finished", "stopped", "stopped", "<u>state</u>", "stopped", "stopped", "failed", "stopped"]
    trials["error"] = [None] * 6 + [HOSTILE, None]
    trials["path"] = f"/{HOSTILE}"
    seen = opened(page(trials, curves, made_sweep(trials, space="<s>", search=HOSTILE)), tmp_path)
    assert seen["problems"] == "", "an image of theirs would have been refused"
    assert seen["title"] == "Sweep of <s>"
    assert seen["drawn"] == ALL
    assert "<b>name</b>" in seen["axes"]
    assert "<b>name</b>" in seen["bar_names"]
    assert {"<i>a</i>", "--accent", "%{x}", "&lt;", "\\ud800"} <= set(seen["ticks"])
    assert seen["errors"] == [HOSTILE]
    assert {"--accent", "&lt;", "<u>state</u>", f"/{HOSTILE}"} <= set(seen["table"])


@pytest.mark.parametrize(
    "theirs", ["<script>document.title='theirs'</script>", "<svg onload=\"document.title='theirs'\"></svg>"]
)
def test_a_script_that_is_not_the_pages_is_not_run(theirs: str, tmp_path: Path) -> None:
    """Should a string ever get through unescaped."""
    whole = whole_page(1).replace("<main>", f"<main>{theirs}")
    seen = opened(whole, tmp_path)
    assert seen["title"] == "Sweep of joint"
    assert seen["drawn"] == ["pareto", "parallel", "curves"]
    if "<script" in theirs:
        assert opened(running_its_scripts(whole), tmp_path)["title"] == "theirs", "so that this can fail"


@pytest.mark.parametrize(
    ("good", "broken", "problem"),
    [
        ("Plotly.react(", "Plotly.noPlot(", "Plotly.noPlot is not a function"),
        ("begin();\n", "throw new Error('boom');\n", "boom"),
        ('id="plotly">H4sI', 'id="plotly">AAAA', "could not be drawn"),
        ("<main>", "<main><img src='https://example.org/a.png'>", "refused https://example.org/a.png"),
    ],
)
def test_a_broken_page_is_noticed(good: str, broken: str, problem: str, tmp_path: Path) -> None:
    """So that the checks above can fail."""
    whole = whole_page(1)
    assert good in whole
    seen = opened(running_its_scripts(whole.replace(good, broken)), tmp_path)
    assert problem in seen["problems"]
    assert (seen["drawn"] == []) == ("example.org" not in broken)
