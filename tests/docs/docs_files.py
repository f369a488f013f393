"""README.md, CONTRIBUTING.md and the pages of docs/: their code, links and headings."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
README = ROOT / "README.md"
PAGES = sorted(DOCS.glob("*.md"))
ALL = [README, ROOT / "CONTRIBUTING.md", *PAGES]


def name_of(page: Path) -> str:
    return str(page.relative_to(ROOT))


def python_blocks(page: Path) -> list[str]:
    return re.findall(r"```python\n(.*?)```", page.read_text(), re.DOTALL)


def prose(page: Path) -> str:
    """Without blocks of code."""
    fenced = re.sub(r"^```.*?^```$", "", page.read_text(), flags=re.DOTALL | re.MULTILINE)
    return "\n".join(line for line in fenced.splitlines() if not line.startswith("    "))


def code_spans(page: Path) -> list[str]:
    """What stands between backticks, and the lines of blocks of code."""
    blocks = [line[4:] for line in page.read_text().splitlines() if line.startswith("    ")]
    return [*re.findall(r"`([^`\n]+)`", prose(page)), *blocks]


def links(page: Path) -> list[str]:
    """Targets of links and pictures."""
    return re.findall(r"\]\(([^)\s]+)\)", prose(page))


def anchors(page: Path) -> set[str]:
    """What the headings of a page are called in links, by the rule of GitHub and of Python-Markdown alike."""
    heads = re.findall(r"^#+ (.+)$", prose(page), re.MULTILINE)
    return {re.sub(r"[-\s]+", "-", re.sub(r"[^\w\s-]", "", head.replace("`", "")).strip().lower()) for head in heads}
