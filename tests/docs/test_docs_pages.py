"""The pages: short where they must be, every link leads somewhere, every page can be reached, nothing is fetched."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
import yaml
from docs_files import ALL, DOCS, PAGES, README, ROOT, anchors, links, name_of
from settings_page import page

WORDS = 900


def broken(source: Path, target: str) -> bool:
    """Whether a link leads nowhere, or to another machine."""
    place, _, anchor = target.partition("#")
    file = (source.parent / place).resolve() if place else source
    return "://" in target or not file.is_file() or bool(anchor and anchor not in anchors(file))


def test_the_readme_is_read_in_three_minutes() -> None:
    assert len(README.read_text().split()) <= WORDS


def test_contributing_is_a_screen() -> None:
    assert len((ROOT / "CONTRIBUTING.md").read_text().splitlines()) <= 40


@pytest.mark.parametrize("source", ALL, ids=name_of)
def test_every_link_leads_somewhere(source: Path) -> None:
    assert [target for target in links(source) if broken(source, target)] == []


@pytest.mark.parametrize("target", ["nowhere.md", "limits.md#nowhere", "#nowhere", "https://example.org/"])
def test_a_link_that_leads_nowhere_is_found(target: str) -> None:
    assert broken(DOCS / "index.md", target)


def test_every_page_is_named_by_the_readme_and_by_the_start_page() -> None:
    for source, but in ((README, "index.md"), (DOCS / "index.md", "index.md")):
        named = {target.partition("#")[0].removeprefix("docs/") for target in links(source)}
        assert {file.name for file in PAGES} - {but} <= named, source


def test_every_page_is_in_the_sites_menu() -> None:
    menu = yaml.safe_load((ROOT / "mkdocs.yml").read_text())["nav"]
    named = re.findall(r"[\w-]+\.md", str(menu))
    assert sorted(named) == [file.name for file in PAGES]


@pytest.mark.parametrize("source", PAGES, ids=name_of)
def test_a_page_links_to_pages_alone(source: Path) -> None:
    """The site has no other files: what lies outside of docs/ is named as code."""
    outside = [target for target in links(source) if target.startswith(("..", "/"))]
    assert outside == []
    assert source.read_text().startswith("# "), "a page begins with its name"


def test_the_page_of_settings_is_that_of_the_settings() -> None:
    """If not: python tests/docs/settings_page.py > docs/settings.md."""
    assert (DOCS / "settings.md").read_text() == page()


@pytest.mark.skipif(find_spec("mkdocs") is None, reason="mkdocs is not installed")
def test_the_site_is_built_and_fetches_nothing(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(tmp_path / "site")],
        cwd=ROOT, env={**os.environ, "NO_MKDOCS_2_WARNING": "1"}, capture_output=True, text=True, timeout=300,
        check=False,
    )  # fmt: skip
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    built = sorted((tmp_path / "site").rglob("*.html"))
    assert {f"{file.stem}.html" for file in PAGES} <= {file.name for file in built}
    for file in built:
        html = file.read_text()
        assert (
            re.findall(r"""<(?:script|img|iframe|source|link)\b[^>]*(?:src|href)=["'](?:https?:)?//[^"']*""", html)
            == []
        )
        assert not re.search(r"@import|url\(['\"]?(?:https?:)?//", html)
