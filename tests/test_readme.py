"""The README's promises: its example runs, its file tree is the disk's."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()


def python_blocks() -> list[str]:
    return re.findall(r"```python\n(.*?)```", README, re.DOTALL)


def test_the_example_is_under_25_lines() -> None:
    assert sum(bool(line.strip()) for line in python_blocks()[0].splitlines()) < 25


@pytest.mark.slow
@pytest.mark.ray
def test_the_example_runs(tmp_path: Path) -> None:
    script = tmp_path / "example.py"
    script.write_text(python_blocks()[0])
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, str(script)],
        cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=560, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    assert "sample_weight" in done.stdout
    assert len(list((tmp_path / "runs").glob("*/result.json"))) == 1


def test_the_file_tree_is_the_disks() -> None:
    tree = re.search(r"## Files\n\n```\n(.*?)```", README, re.DOTALL)
    assert tree is not None
    folder: dict[int, Path] = {-1: ROOT}
    named = set()
    for line in tree.group(1).splitlines():
        depth = (len(line) - len(line.lstrip())) // 2
        path = folder[depth - 1] / line.split()[0].rstrip("/")
        folder[depth] = path
        named.add(path)
        assert path.exists(), f"the README names {path.relative_to(ROOT)}, which is not there"
        assert len(line.split()) > 1, f"the README says nothing of {path.name}"
    for path in (ROOT / "ray_mentor").iterdir():
        if path.name not in ("__main__.py", "__pycache__"):
            assert path in named, f"the README's tree lacks {path.name}"


@pytest.mark.parametrize("target", ["run", "test", "check", "test-slow", "format", "bench", "chaos"])
def test_the_commands_are_there(target: str) -> None:
    assert f"make {target}" in README
    assert re.search(rf"^{target}:", (ROOT / "Makefile").read_text(), re.MULTILINE)
