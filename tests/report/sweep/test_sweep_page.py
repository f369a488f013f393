"""A sweep's page: what it says, that it needs nothing but itself, and that plotly knows every word of its figures."""

from __future__ import annotations

import base64
import functools
import hashlib
import json
import math
import re
import subprocess
import sys
from html.parser import HTMLParser
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go
import pytest
from made_sweeps import CONFIRMED, made_sweep, made_trials
from page_text import figures, plotly_of, without_plotly, words
from plotly.offline import get_plotlyjs

from ray_mentor.report.sweep.page import page
from ray_mentor.report.sweep.pareto_front import pareto_front

ALL = ["pareto", "importance", "parallel", "curves"]


def made(count: int, **changes: Any) -> str:
    trials, curves = made_trials(count)
    return page(trials, curves, made_sweep(trials, **changes))


def test_the_head_says_what_was_searched_what_was_found_and_whether_it_is_better() -> None:
    trials, curves = made_trials(40)
    sweep = made_sweep(trials)
    text = words(page(trials, curves, sweep))
    assert text.startswith("Sweep of joint: 40 trials of 6 settings Searched method, mentor_learning_rate, ")
    assert "for the highest accuracy on held-out trusted samples: search random, scheduler asha, seed 0" in text
    assert (
        f"Found trial {sweep['best']['trial']} with accuracy on held-out trusted samples "
        f"{sweep['best']['objective']:.4f}, " in text
    )
    assert "where equal sample weights reach 0.5220 in 61 s: method = mentornet, " in text
    assert (
        "Is it really better? Better than the settings that the sweep began from, shown on fresh seeds 1, 2 and 3: "
        "test accuracy 0.9680 against 0.9610; difference +0.0070, 95 % interval +0.0045 to +0.0095."
    ) in text


def test_the_counts_of_every_state() -> None:
    trials, curves = made_trials(40)
    text = words(page(trials, curves, made_sweep(trials)))
    for state, said in (("finished", "finished"), ("stopped", "stopped early"), ("hopeless", "mentor collapsed")):
        assert f"{(trials['state'] == state).sum()}{said}" in text


@pytest.mark.parametrize(
    ("verdict", "shade"), [("better", "better"), ("worse", "worse"), ("no difference shown", "open")]
)
def test_the_verdict_has_its_colour(verdict: str, shade: str) -> None:
    assert f'<p class="verdict {shade}">' in made(4, confirm={**CONFIRMED, "verdict": verdict})


def test_the_pareto_line_is_the_front_and_every_other_trial_a_point() -> None:
    trials, curves = made_trials(24)
    pareto = figures(page(trials, curves, made_sweep(trials)))["pareto"]["data"]
    [line] = [trace for trace in pareto if trace["mode"] == "lines"]
    able = trials[~trials["state"].isin(["failed", "hopeless"])]
    front = able[pareto_front(able["accuracy"], able["seconds"])].sort_values("seconds")
    assert (line["x"], line["y"]) == (front["seconds"].tolist(), front["accuracy"].tolist())
    points = [x for trace in pareto if trace["mode"] == "markers" and trace["marker"]["size"] == 9 for x in trace["x"]]
    assert sorted(points) == sorted(trials["seconds"].dropna())


def test_a_point_tells_its_settings() -> None:
    trials, curves = made_trials(1)
    [points] = [
        trace
        for trace in figures(page(trials, curves, made_sweep(trials)))["pareto"]["data"]
        if "name" in trace and trace["name"] == "finished"
    ]
    assert points["hovertext"][0].startswith("<b>trial 00000</b>, finished<br>accuracy 0.5")
    assert "<br>update_interval = 2<br>" in points["hovertext"][0]


def test_curves_are_a_line_a_trial_and_those_that_did_not_finish_are_faded() -> None:
    trials, curves = made_trials(24)
    sweep = made_sweep(trials)
    traces = {trace["name"]: trace for trace in figures(page(trials, curves, sweep))["curves"]["data"]}
    lines = {name: trace["x"].count(None) for name, trace in traces.items()}
    finished = int((trials["state"] == "finished").sum())
    assert (lines["best trial"], lines["finished"]) == (1, finished - 1)
    assert sum(lines.values()) == curves["trial"].nunique()
    assert traces["best trial"]["opacity"] > traces["finished"]["opacity"] > traces["stopped early"]["opacity"]
    best = curves[curves["trial"] == sweep["best"]["trial"]]
    assert traces["best trial"]["y"] == [*best["accuracy"], None]


def test_parallel_coordinates_have_the_objective_first_and_the_most_important_setting_next() -> None:
    drawn = figures(made(24))
    [trace] = drawn["parallel"]["data"]
    bars = drawn["importance"]["data"][0]
    labels = [dimension["label"] for dimension in trace["dimensions"]]
    assert labels == ["<b>accuracy on held-out trusted samples</b>", *reversed(bars["y"])]
    assert bars["x"] == sorted(bars["x"])


def test_the_table_has_the_ten_best_those_that_went_to_the_end_first() -> None:
    trials, curves = made_trials(24)
    whole = page(trials, curves, made_sweep(trials))
    rows = re.findall(r"<tr(?: class=\"best\")?><td>(\d+)</td><td>([^<]*)</td>", whole)
    ranked = trials.sort_values("objective", ascending=False)
    finished = list(ranked.loc[ranked["state"] == "finished", "trial"])
    early = list(ranked.loc[ranked["state"].isin(["stopped", "unfinished"]), "trial"])
    assert 1 < len(finished) < 10
    assert [trial for trial, _ in rows] == [*finished, *early][:10]
    assert f'<tr class="best"><td>{finished[0]}</td><td>finished</td>' in whole
    assert whole.count('<tr class="best">') == 1


def test_the_errors_of_failed_trials() -> None:
    trials, curves = made_trials(30)
    trials["error"] = "RuntimeError: out of <memory>\n  at step 3"
    whole = page(trials, curves, made_sweep(trials))
    assert whole.count("<pre>RuntimeError: out of &lt;memory&gt;\n  at step 3</pre>") == 20
    assert "And 10 more." in whole


def strange() -> dict[str, tuple[pd.DataFrame, pd.DataFrame, dict[str, Any]]]:
    one, one_curve = made_trials(1)
    many, many_curves = made_trials(64)
    failed, no_curves = made_trials(6)
    failed = failed.assign(state="failed", objective=math.nan, accuracy=math.nan, seconds=math.nan, error="boom")
    no_curves = no_curves.iloc[:0]
    some, some_curves = made_trials(12)
    some.loc[[1, 3], ["objective", "accuracy", "seconds"]] = [math.nan, 0.3, math.inf]
    some.loc[5, "path"] = None
    some_curves.loc[3, "accuracy"] = math.nan
    alike = many.assign(objective=0.5)
    none = many.iloc[:0]
    unset = many[[name for name in many if not name.startswith("setting.")]]
    return {
        "one": (one, one_curve, made_sweep(one, confirm=None, baseline=None)),
        "many": (many, many_curves, made_sweep(many, objective="gap-per-cost")),
        "all failed": (failed, no_curves, made_sweep(failed, confirm=None)),
        "some not known": (some, some_curves, made_sweep(some)),
        "alike": (alike, many_curves, made_sweep(alike)),
        "none": (none, no_curves, made_sweep(none, confirm=None)),
        "no table": (pd.DataFrame(), pd.DataFrame(), made_sweep(none, confirm=None)),
        "no settings": (unset, many_curves, made_sweep(unset)),
    }


@functools.cache
def strange_page(case: str) -> str:
    return page(*strange()[case])


DRAWN = {
    "one": ["pareto", "parallel", "curves"],
    "many": ALL,
    "all failed": [],
    "some not known": ALL,
    "alike": ["pareto", "parallel", "curves"],
    "none": [],
    "no table": [],
    "no settings": ["pareto", "curves"],
}


@pytest.mark.long
@pytest.mark.parametrize("case", list(DRAWN))
def test_plotly_knows_every_word_of_the_figures(case: str) -> None:
    """Its own check of names and values; a colour that the style sheet names stands for any."""
    drawn = figures(strange_page(case))
    assert list(drawn) == DRAWN[case]
    for figure in drawn.values():
        coloured = json.loads(re.sub(r'"--[a-z-]+"', '"#123456"', json.dumps(figure)))
        go.Figure(data=coloured["data"], layout=coloured["layout"])


def test_that_check_can_fail() -> None:
    with pytest.raises(ValueError, match="hovertexts"):
        go.Figure(data=[{"type": "scatter", "hovertexts": ["a"]}])


@pytest.mark.parametrize("case", list(DRAWN))
def test_every_colour_is_one_of_the_style_sheets(case: str) -> None:
    whole = without_plotly(strange_page(case))
    for name in re.findall(r'"(--[a-z-]+)"', json.dumps(figures(whole))):
        assert f"{name}: " in whole, name


@pytest.mark.parametrize("case", list(DRAWN))
def test_a_page_needs_nothing_but_itself(case: str) -> None:
    whole = without_plotly(strange_page(case))
    assert not re.search(r"https?:|\bsrc=|\bhref=|@import|url\(|<link|<iframe", whole)
    assert "default-src 'none'" in whole


class Scripts(HTMLParser):
    """What a browser finds of a page: its policy, and the text of each script that it would run."""

    def __init__(self, whole: str) -> None:
        super().__init__()
        self.policy = ""
        self.run: list[str] = []
        self.handlers: list[str] = []
        self._inside = False
        self.feed(whole)
        self.close()

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        values = dict(attributes)
        self.handlers += [name for name in values if name.startswith("on")]
        self._inside = tag == "script" and values.get("type") not in ("application/json", "text/plain")
        if self._inside:
            self.run.append("")
        if values.get("http-equiv") == "Content-Security-Policy":
            assert not self.run, "a policy says nothing of scripts before it"
            self.policy = str(values["content"])

    def handle_endtag(self, tag: str) -> None:
        self._inside = False

    def handle_data(self, data: str) -> None:
        if self._inside:
            self.run[-1] += data


@pytest.mark.parametrize("case", list(DRAWN))
def test_a_page_runs_its_own_scripts_and_no_other(case: str) -> None:
    """Two, and plotly.js where it draws something; that compiles code for parallel coordinates alone."""
    found = Scripts(strange_page(case))
    assert len(found.run) == 2
    assert not any(end in script for script in found.run for end in "\r\0"), "a browser reads these otherwise"
    drawn = [get_plotlyjs()] if DRAWN[case] else []
    hashes = [base64.b64encode(hashlib.sha256(script.encode()).digest()).decode() for script in [*found.run, *drawn]]
    [allowed] = re.findall(r"script-src ([^;]*);", found.policy)
    compiles = ["'unsafe-eval'"] if "parallel" in DRAWN[case] else []
    assert allowed.split() == [*(f"'sha256-{each}'" for each in hashes), *compiles]
    assert found.handlers == []


def test_a_page_brings_its_plotly_along_and_is_small() -> None:
    whole = strange_page("many")
    assert plotly_of(whole) == get_plotlyjs()
    assert len(whole.encode()) < 2_500_000


def test_what_is_missing_is_said() -> None:
    text = words(strange_page("all failed"))
    assert "Found nothing: no trial got as far as an objective." in text
    assert "No trial has an accuracy to draw." in text
    assert "Importances need at least four trials with different objectives, and a setting that varies." in text
    assert "No trial got through an epoch." in text
    assert "6failed" in text
    assert "Trial 00000 /data/runs/sweep-joint/runs/00000boom" in text


HOSTILE = "</script><script>alert('it')</script>\x1b[31m\u202e"
SHOWN = "&lt;/script&gt;&lt;script&gt;alert(&#x27;it&#x27;)&lt;/script&gt;\\x1b[31m\\u202e"


@pytest.mark.parametrize("place", ["trial", "state", "error", "path", "setting.method"])
def test_a_string_in_the_table_is_escaped(place: str) -> None:
    trials, curves = made_trials(3)
    trials[place] = [f"{HOSTILE}{number}" for number in range(3)]
    whole = page(trials, curves, made_sweep(trials))
    assert "<script>alert" not in whole
    assert "\x1b" not in without_plotly(whole)
    assert "\u202e" not in without_plotly(whole)
    assert SHOWN in whole


@pytest.mark.parametrize(
    "place", ["space", "scheduler", "search", "seed", "versions", "settings", "verdict", "name", "objective"]
)
def test_a_string_of_the_sweep_is_escaped(place: str) -> None:
    trials, curves = made_trials(3)
    if place == "name":
        trials[f"setting.{HOSTILE}"] = [1, 2, 3]
    changes: dict[str, Any] = {place: HOSTILE}
    if place == "versions":
        changes = {"versions": {"python": HOSTILE}}
    if place == "settings":
        changes = {"best": {"trial": "other", "objective": 0.5, "settings": {"method": HOSTILE}}}
    if place == "verdict":
        changes = {"confirm": {**CONFIRMED, "verdict": HOSTILE}}
    whole = page(trials, curves, made_sweep(trials, **changes))
    assert "<script>alert" not in whole
    assert SHOWN in whole.replace("<wbr>", "")


def test_a_page_can_be_written_as_utf8_whatever_is_in_it() -> None:
    trials, curves = made_trials(3)
    trials["setting.method"] = pd.Series(["\ud800", "é", "\x00"], dtype=object)
    assert "\\ud800" in page(trials, curves, made_sweep(trials)).encode().decode()


def test_values_of_numpy_are_read_like_pythons() -> None:
    trials, curves = made_trials(8)
    typed = trials.assign(
        **{
            "setting.nesterov": pd.Series([np.bool_(value) for value in trials["setting.nesterov"]], dtype=object),
            "setting.burn_in": pd.Series([np.float64(value) for value in trials["setting.burn_in"]], dtype=object),
        }
    )
    assert figures(page(typed, curves, made_sweep(trials))) == figures(page(trials, curves, made_sweep(trials)))


@pytest.mark.long
def test_neither_page_nor_display_needs_ray() -> None:
    code = (
        "import sys, ray_mentor.report.sweep.page, ray_mentor.report.sweep.display\n"
        "print('plotly' in sys.modules, 'ray' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=True)
    assert done.stdout == "True False\n"


def test_the_same_sweep_has_the_same_page() -> None:
    assert made(12) == made(12)
