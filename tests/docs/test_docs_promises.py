"""What pages promise about the repository: the tree of files is the disk's, the commands are make's."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from docs_files import DOCS, README, ROOT

TREE = (DOCS / "development.md").read_text()


def test_the_file_tree_is_the_disks() -> None:
    tree = re.search(r"## Files\n\n```\n(.*?)```", TREE, re.DOTALL)
    assert tree is not None
    folder: dict[int, Path] = {-1: ROOT}
    named = set()
    for line in tree.group(1).splitlines():
        depth = (len(line) - len(line.lstrip())) // 2
        path = folder[depth - 1] / line.split()[0].rstrip("/")
        folder[depth] = path
        named.add(path)
        assert path.exists(), f"the page names {path.relative_to(ROOT)}, which is not there"
        assert len(line.split()) > 1, f"the page says nothing of {path.name}"
    for path in (ROOT / "ray_mentor").iterdir():
        if path.name not in ("__main__.py", "__pycache__", "py.typed"):
            assert path in named, f"the tree lacks {path.name}"


@pytest.mark.parametrize("target", ["run", "test"])
def test_the_readme_has_the_two_commands(target: str) -> None:
    assert f"\n    make {target} " in README.read_text()


@pytest.mark.parametrize(
    "target", re.findall(r"^\.PHONY: (.*)$", (ROOT / "Makefile").read_text(), re.MULTILINE)[0].split()
)
def test_commands_for_those_who_work_on_it_are_there(target: str) -> None:
    shown = {"lint": "make check", "pytest": "make check"}.get(target, f"make {target}")
    assert shown in TREE
    assert re.search(rf"^{target}:", (ROOT / "Makefile").read_text(), re.MULTILINE)
