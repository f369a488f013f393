"""Names beside points cover nothing, as far as there is room; and the lines of two methods can be told apart."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from browser import CHROMIUM, opened
from compared_runs import runs
from page_colours import themes
from page_text import figures
from test_compare_page import SOME, made

from ray_mentor.report.compare.labels import places

CLOSE = {
    "uniform-trusted": (0.80, 0.81, 10.0),
    "gce": (0.870, 0.870, 10.4),
    "self-paced": (0.871, 0.871, 10.5),
    "mentornet": (0.885, 0.885, 15.0),
    "mentormix": (0.884, 0.886, 15.1),
    "mentormix-uniform": (0.880, 0.8815, 15.05),
    "early-learning": (0.90, 0.902, 12.0),
    "oracle": (0.95, 0.95, 10.2),
}


def close_page() -> str:
    accuracies = {method: figures[:2] for method, figures in CLOSE.items()}
    return made(runs(accuracies, {method: figures[2] for method, figures in CLOSE.items()}))


def test_a_name_goes_where_it_covers_nothing() -> None:
    assert places([[0.5], [0.5]], ["alone"]) == ["top center"]
    assert places([[0.5, 0.5], [0.5, 0.5]], ["one", "two"]) == ["top center", "bottom center"]
    crowd = places([[0.5] * 4, [0.5] * 4], list("abcd"))
    assert len(set(crowd)) == 4, "four points in one place"


_OVERLAPS = """
setTimeout(() => {
  const boxes = [...document.querySelectorAll("#cost0 .textpoint text")].map(
    each => [each.textContent, each.getBoundingClientRect()]);
  const common = (a, b) => Math.min(a.right, b.right) - Math.max(a.left, b.left) > 1
    && Math.min(a.bottom, b.bottom) - Math.max(a.top, b.top) > 2;
  const found = [];
  for (const [i, [one, a]] of boxes.entries())
    for (const [two, b] of boxes.slice(i + 1)) if (common(a, b)) found.push([one, two]);
  document.getElementById("probed").textContent = JSON.stringify({
    names: boxes.map(each => each[0]), overlaps: found, problems: document.getElementById("problems").textContent,
  });
}, 10000);
"""


@pytest.mark.long
@pytest.mark.skipif(
    CHROMIUM is None,
    reason="a page is opened in no browser, since there is no chromium, chromium-browser or google-chrome",
)
@pytest.mark.parametrize("size", ["1200,900", "390,844"])
def test_in_a_browser_no_two_names_lie_on_each_other(tmp_path: Path, size: str) -> None:
    seen = opened(close_page(), tmp_path, f"--window-size={size}", script=_OVERLAPS)
    assert seen["problems"] == ""
    assert sorted(seen["names"]) == sorted(CLOSE)
    assert seen["overlaps"] == []


def looks(whole: str) -> list[tuple[str, str]]:
    return [(trace["line"]["color"], trace["line"]["dash"]) for trace in figures(whole)["curves0"]["data"]]


def test_the_lines_of_two_methods_differ_in_colour_or_dash() -> None:
    many = {**SOME, **{f"method{number}": (0.5, 0.6) for number in range(30)}}
    found = looks(made(runs(many)))
    assert len(set(found)) == len(found)


def colour_pairs() -> Iterator[Any]:
    drawn = ["--best", "--base", "--muted", *(f"--line-{letter}" for letter in "abcdef")]
    for theme in ("light", "dark"):
        for one, two in itertools.combinations(drawn, 2):
            yield pytest.param(theme, one, two, id=f"{theme} {one} {two}")


@pytest.mark.parametrize(("theme", "one", "two"), list(colour_pairs()))
def test_no_two_colours_of_lines_are_nearly_the_same(theme: str, one: str, two: str) -> None:
    """Of the CIE's L*a*b*, in which 2.3 is what an eye just sees; the red of the best had one beside it at 8."""
    colours = themes()[theme]
    assert colours[one].apart(colours[two]) > 20
