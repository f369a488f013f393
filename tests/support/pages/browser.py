"""Pages in a headless Chromium: what a person would see, as figures that a probe in the page counts."""

from __future__ import annotations

import html
import json
import os
import re
import shutil
import signal
import subprocess
import tempfile
from pathlib import Path
from typing import Any

from plotly.offline import get_plotlyjs

from ray_mentor.report.page.html import script_source

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")

_OPTIONS = [
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync"),
    *("--disable-background-networking", "--disable-component-update", "--disable-breakpad"),
    "--virtual-time-budget=30000",
]
DARK = "--blink-settings=preferredColorScheme=0"

SWEEP = """
const count = selector => document.querySelectorAll(selector).length;
const texts = selector => [...document.querySelectorAll(selector)].map(each => each.textContent);

function painted(canvas) {
  const copy = document.createElement("canvas");
  [copy.width, copy.height] = [canvas.width, canvas.height];
  const context = copy.getContext("2d");
  context.drawImage(canvas, 0, 0);
  const values = context.getImageData(0, 0, copy.width, copy.height).data;
  return values.filter((value, place) => place % 4 === 3 && value > 0).length;
}

function probe() {
  const places = ["pareto", "importance", "parallel", "curves"].map(name => document.getElementById(name));
  const there = places.filter(place => place !== null);
  document.getElementById("probed").textContent = JSON.stringify({
    title: document.title,
    problems: document.getElementById("problems").textContent,
    there: there.map(place => place.id),
    drawn: there.filter(place => place.dataset.drawn === "yes").map(place => place.id),
    pareto_points: count("#pareto .scatterlayer path.point"),
    pareto_lines: count("#pareto .scatterlayer path.js-line"),
    bars: count("#importance .bars .point path"),
    bar_names: texts("#importance .yaxislayer-above text"),
    axes: texts("#parallel .axis-title"),
    ticks: texts("#parallel .axis .tick text"),
    painted: [...document.querySelectorAll("#parallel canvas.gl-canvas-focus")].map(painted),
    curve_points: count("#curves .scatterlayer path.point"),
    table: texts("#best tbody td"),
    errors: texts("pre"),
    page: getComputedStyle(document.body).backgroundColor,
    paper: [...document.querySelectorAll(".main-svg")].map(svg => svg.style.background),
  });
}
setTimeout(probe, 10000);
"""
"""Counts what a sweep's page shows."""


def opened(page: str, folder: Path, *options: str, script: str = SWEEP) -> dict[str, Any]:
    """What a probe found in a page that was opened from a file: it leaves it in ``#probed``, as JSON."""
    file = folder / "page.html"
    allowed = page.replace("script-src ", f"script-src {script_source(script)} ", 1)
    file.write_text(
        allowed.replace("</body>", f'<p hidden id="probed"></p><script>{script}</script></body>'), encoding="utf-8"
    )
    with (
        tempfile.TemporaryDirectory() as own
    ):  # its sockets' paths may have 107 bytes, which a test's folder may exceed
        dom = _dom(file, Path(own), options)
    found = re.search(r'<p hidden="" id="probed">(.*?)</p>', dom, re.DOTALL)
    assert found is not None, dom[-2000:]
    counted: dict[str, Any] = json.loads(html.unescape(found[1]))
    return counted


def running_its_scripts(page: str) -> str:
    """The page under a policy that allows whatever script is in it."""
    scripts = [*re.findall(r"<script>(.*?)</script>", page, re.DOTALL), get_plotlyjs()]
    sources = " ".join(map(script_source, scripts))
    return re.sub("script-src [^;]*", f"script-src {sources} 'unsafe-eval'", page, count=1)


def _dom(file: Path, folder: Path, options: tuple[str, ...]) -> str:
    command = [str(CHROMIUM), *_OPTIONS, *options, f"--user-data-dir={folder / 'profile'}", "--dump-dom", file.as_uri()]
    places = {name: str(folder) for name in ("HOME", "TMPDIR", "XDG_CONFIG_HOME", "XDG_CACHE_HOME")}
    process = subprocess.Popen(
        command,
        env={**os.environ, **places},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        start_new_session=True,
    )
    try:
        return process.communicate(timeout=150)[0]
    finally:
        _end(process)


def _end(process: subprocess.Popen[str]) -> None:
    """Ends all that the browser started."""
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        return
    process.wait()
