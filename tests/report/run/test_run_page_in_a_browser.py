"""A run's page in a real browser: figures, slider, copying, both themes; nothing fails, nothing is fetched."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from browser import CHROMIUM, DARK, opened
from made_runs import CLASSES, made_result, made_run, samples_of
from page_text import figures

from ray_mentor.core.mentor.rule import RULE_FILE, Rule
from ray_mentor.report.run.page import page
from ray_mentor.run.audit.audit import Audit
from ray_mentor.run.directory import RunDirectory

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
  const shown = () => [...document.querySelectorAll("#cards .card")].filter(card => !card.hidden).map(
    card => card.dataset.id);
  const set = async (id, value) => {
    document.getElementById(id).value = value;
    document.getElementById(id).dispatchEvent(new Event("input"));
    await wait(0.1);
  };
  const steps = { first: shown() };
  await set("by-given", "dog");
  steps.dogs = shown();
  await set("sort", "id");
  steps.sorted = shown();
  document.getElementById("choose").click();
  steps.told = document.getElementById("shown").textContent;
  await set("by-given", "");
  await set("by-id", "12");
  steps.found = shown();
  await set("by-id", "");
  const named = document.querySelector("#cards .card"), was = named.dataset.id;
  named.dataset.id = "Scan-7";
  await set("by-id", "sCAN-");
  steps.cased = shown();
  await set("by-id", "");
  named.dataset.id = was;
  document.getElementById("copy-ids").click();
  await wait(0.5);
  steps.copied = document.getElementById("shown").textContent;
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
    steps,
    pictures: [...document.images].map(each => [each.alt, each.complete && each.naturalWidth]),
    page: getComputedStyle(document.body).backgroundColor,
    paper: [...document.querySelectorAll(".main-svg")].map(svg => svg.style.background).filter(each => each),
    wide: document.documentElement.scrollWidth - document.documentElement.clientWidth,
  });
}
look();
"""


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> RunDirectory:
    directory = made_run(tmp_path_factory.mktemp("made") / "first", samples=150)
    rule = Rule("loss", np.array([0.5, 1.5]), np.array([[0.9, 0.6], [0.9, 0.1]]), np.array([0.2, 0.8]), np.zeros(3))
    directory.write(RULE_FILE, rule.text().encode())
    return directory


@pytest.fixture(scope="module")
def made(run: RunDirectory) -> str:
    return page(run, samples=samples_of(run))


def test_all_of_it_works(run: RunDirectory, made: str, tmp_path: Path) -> None:
    seen = opened(made, tmp_path, script=LOOK)
    assert seen["problems"] == ""
    assert seen["drawn"] == list(figures(made))
    assert seen["accuracy_lines"] == 3
    assert seen["cells"] == 1
    assert seen["moved"], "the slider shows other bars"
    assert seen["says"] == ["epoch 6 of 6", "epoch 1 of 6", "epoch 1 of 6"]
    assert seen["labelled"]
    config, ids = seen["copies"]
    assert 'method = "mentornet"\n' in config
    rows, steps = Audit.from_run(run).table.slice(0, 100).to_pylist(), seen["steps"]
    assert steps["first"] == [str(row["sample_id"]) for row in rows]
    assert steps["dogs"] == [str(row["sample_id"]) for row in rows if row["given_label"] == "dog"]
    assert 10 < len(steps["dogs"]) < 90
    assert steps["sorted"] == sorted(steps["dogs"], key=int)
    assert steps["told"] == f"{len(steps['dogs'])} of 100 shown, {len(steps['dogs'])} chosen"
    assert steps["found"] == sorted((each for each in steps["first"] if "12" in each), key=int)
    assert steps["cased"] == ["Scan-7"]
    assert ids.splitlines() == steps["sorted"]
    assert steps["copied"] == f"{len(steps['dogs'])} ids copied"
    assert len(seen["pictures"]) == 100
    assert all(alt.startswith("sample ") and wide == 8 for alt, wide in seen["pictures"])
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
