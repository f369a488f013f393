"""A run's page in a real browser: figures, slider, copying, both themes; nothing fails, nothing is fetched."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from browser import CHROMIUM, DARK, opened
from made_runs import CLASSES, made_result, made_run
from page_text import figures

from ray_mentor.report.run.page import page

pytestmark = [
    pytest.mark.long,
    pytest.mark.skipif(
        CHROMIUM is None,
        reason="a page is opened in no browser, since there is no chromium, chromium-browser or google-chrome",
    ),
]

LOOK = """
const copies = [];
Object.defineProperty(navigator, "clipboard", { value: { writeText: async text => { copies.push(text); } } });
const count = selector => document.querySelectorAll(selector).length;
const bars = () => [...document.querySelectorAll("#histogram .bars .point path")].map(
  path => Math.round(path.getBBox().height));
const wait = seconds => new Promise(done => setTimeout(done, 1000 * seconds));

async function look() {
  await wait(6);
  const slider = document.getElementById("histogram-slider"), before = bars();
  const last = document.getElementById("histogram-says").textContent;
  slider.focus();
  slider.value = 0;
  slider.dispatchEvent(new Event("input"));
  await wait(2);
  document.querySelector("button[data-copies=config]").click();
  await wait(1);
  document.getElementById("probed").textContent = JSON.stringify({
    problems: document.getElementById("problems").textContent,
    title: document.title,
    drawn: Object.keys(FIGURES).filter(name => document.getElementById(name).dataset.drawn === "yes"),
    accuracy_lines: count("#accuracy .scatterlayer path.js-line"),
    cells: count("#classes .heatmaplayer image"),
    moved: JSON.stringify(before) !== JSON.stringify(bars()),
    says: [last, document.getElementById("histogram-says").textContent, slider.getAttribute("aria-valuetext")],
    labelled: document.querySelector("label[for=histogram-slider]") !== null,
    copies,
    page: getComputedStyle(document.body).backgroundColor,
    paper: [...document.querySelectorAll(".main-svg")].map(svg => svg.style.background).filter(each => each),
    wide: document.documentElement.scrollWidth - document.documentElement.clientWidth,
  });
}
look();
"""


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> str:
    return page(made_run(tmp_path_factory.mktemp("made") / "first"))


def test_all_of_it_works(made: str, tmp_path: Path) -> None:
    seen = opened(made, tmp_path, script=LOOK)
    assert seen["problems"] == ""
    assert seen["drawn"] == list(figures(made))
    assert seen["accuracy_lines"] == 3
    assert seen["cells"] == 1
    assert seen["moved"], "the slider shows other bars"
    assert seen["says"] == ["epoch 6 of 6", "epoch 1 of 6", "epoch 1 of 6"]
    assert seen["labelled"]
    [config] = seen["copies"]
    assert 'method = "mentornet"\n' in config
    assert seen["page"] == "rgb(255, 255, 255)"
    assert seen["wide"] == 0


def test_in_the_dark_and_on_a_phone(made: str, tmp_path: Path) -> None:
    seen = opened(made, tmp_path, DARK, "--window-size=390,844", script=LOOK)
    assert seen["problems"] == ""
    assert seen["drawn"] == list(figures(made))
    assert seen["page"] == "rgb(21, 23, 27)"
    assert set(seen["paper"]) <= {"rgb(21, 23, 27)", "rgba(0, 0, 0, 0)"}
    assert seen["wide"] == 0, "nothing but figures and tables is scrolled sideways"


HOSTILE = "</script><script>document.title='theirs'</script><img src=x onerror=\"document.title='theirs'\">"


def test_strings_are_shown_and_not_obeyed(tmp_path: Path) -> None:
    changes: dict[str, Any] = {"settings": {"run_name": HOSTILE, "data": HOSTILE}, "classes": (HOSTILE, *CLASSES[1:])}
    seen = opened(
        page(made_run(tmp_path / "run", result=made_result(notes=[HOSTILE]), **changes)), tmp_path, script=LOOK
    )
    assert seen["problems"] == "", "an image of theirs would have been refused"
    assert seen["title"].startswith("Run </script><script>document")
    assert HOSTILE.replace('"', '\\"') in seen["copies"][0]
