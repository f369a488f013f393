"""The Grafana dashboard shows what a run tells Ray's metrics, all of it and nothing else, and the page names it."""

from __future__ import annotations

import itertools
import json
import re
from typing import Any

import pytest
from docs_files import DOCS

from ray_mentor.on_ray.session.metrics import GAUGES, SCORE_SECONDS

NAMES = {*GAUGES, SCORE_SECONDS}


@pytest.fixture(scope="module")
def dashboard() -> Any:
    return json.loads((DOCS / "grafana.json").read_text())


def named(text: str) -> set[str]:
    """The metrics in a text; a histogram is read as its buckets, their sum and their count."""
    found = re.findall(r"\bray_(mentor_[a-z_]+)", text)
    return {re.sub(rf"(?<=^{SCORE_SECONDS})_(bucket|count|sum)$", "", name) for name in found}


def queries(dashboard: Any) -> list[str]:
    return [target["expr"] for panel in dashboard["panels"] for target in panel["targets"]]


def test_every_metric_is_drawn_and_none_that_is_not_there(dashboard: Any) -> None:
    assert set().union(*map(named, queries(dashboard))) == NAMES
    assert named(json.dumps(dashboard)) == NAMES


@pytest.mark.parametrize("name", sorted(NAMES))
def test_the_page_says_what_each_is(name: str) -> None:
    assert f"`ray_{name}`" in (DOCS / "report.md").read_text()


def test_the_page_names_no_other() -> None:
    assert named((DOCS / "report.md").read_text()) == NAMES


def test_a_name_that_is_not_there_is_found() -> None:
    assert named("rate(ray_mentor_score_seconds_bucket[1m]) + ray_mentor_loss_sum") == {
        SCORE_SECONDS,
        "mentor_loss_sum",
    }


def test_runs_are_told_apart_and_can_be_chosen(dashboard: Any) -> None:
    assert {variable["name"] for variable in dashboard["templating"]["list"]} == {"datasource", "run"}
    for query in queries(dashboard):
        assert re.search(r'ray_mentor_\w+\{run=~"\$run"\}', query), query
        assert re.search(r"by \(run\b", query), query


def test_panels_have_places_of_their_own_and_ask_the_chosen_prometheus(dashboard: Any) -> None:
    panels = dashboard["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    for one, other in itertools.combinations([panel["gridPos"] for panel in panels], 2):
        beside = one["x"] + one["w"] <= other["x"] or other["x"] + other["w"] <= one["x"]
        assert beside or one["y"] + one["h"] <= other["y"] or other["y"] + other["h"] <= one["y"]
    places = [panel["datasource"]["uid"] for panel in panels]
    places += [target["datasource"]["uid"] for panel in panels for target in panel["targets"]]
    assert set(places) == {"${datasource}"}
    assert "://" not in json.dumps(dashboard)
