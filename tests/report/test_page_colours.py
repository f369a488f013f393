"""Text on a page can be read in both themes."""

from __future__ import annotations

import pytest
from page_colours import themes

READ = ("--ink", "--muted", "--accent", "--bad", "--good", "--warn")


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("ground", ["--page", "--panel"])
@pytest.mark.parametrize("text", READ)
def test_text_stands_out(theme: str, ground: str, text: str) -> None:
    """WCAG's AA for small text."""
    colours = themes()[theme]
    assert colours[text].contrast(colours[ground]) >= 4.5


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_a_line_stands_out(theme: str) -> None:
    colours = themes()[theme]
    lines = [name for name in colours if name.startswith("--line-") or name in ("--best", "--base")]
    assert min(colours[name].contrast(colours["--page"]) for name in lines) >= 3
