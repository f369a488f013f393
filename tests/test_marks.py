"""Which tests start Ray, which are skipped, and that a test session says so."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from one_ray import REFUSE

SUPPORT = Path(__file__).parent / "support"
PATHS = os.pathsep.join(map(str, (SUPPORT, SUPPORT / "on_ray", *filter(None, sys.path))))
ENVIRONMENT = {name: value for name, value in os.environ.items() if name not in REFUSE} | {"PYTHONPATH": PATHS}

pytestmark = pytest.mark.slow  # test sessions of their own, each of which loads PyTorch and Ray

TESTS = """
import os, subprocess, sys
import pytest, ray
from one_ray import REFUSE

def test_starts_one():
    ray.init("local")

def test_starts_one_in_another_process():
    subprocess.run([sys.executable, "-c", "import ray; ray.init('local')"], check=True)

@pytest.mark.ray
def test_says_so():
    assert not REFUSE.keys() & os.environ.keys()

def test_starts_none():
    assert REFUSE.items() <= os.environ.items()

def test_shares_one(local_ray):
    pass

@pytest.mark.skip(reason="it is Sunday")
def test_not_today():
    pass

@pytest.mark.skip(reason="it is Sunday")
def test_nor_this():
    pass
"""


@pytest.fixture
def says(tmp_path: Path) -> str:
    """What pytest says of these tests, without the one that shares a Ray."""
    file = tmp_path / "test_some.py"
    file.write_text(TESTS)
    command = [sys.executable, "-m", "pytest", "-p", "one_ray", "-p", "not_tested_here", "-p", "no:cacheprovider"]
    done = subprocess.run(
        [*command, "-v", "-c", os.devnull, "--rootdir", tmp_path, "-k", "not shares", file],
        env=ENVIRONMENT, cwd=tmp_path, capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    return done.stdout


def test_one_that_starts_ray_without_a_mark_fails_and_reasons_are_counted(says: str) -> None:
    results = dict(line.split("::")[1].split()[:2] for line in says.splitlines() if "::" in line and "%]" in line)
    assert results == {
        "test_says_so": "PASSED",
        "test_starts_one": "FAILED",
        "test_starts_one_in_another_process": "FAILED",
        "test_starts_none": "PASSED",
        "test_not_today": "SKIPPED",
        "test_nor_this": "SKIPPED",
    }
    assert next(iter(results)) == "test_says_so", "those that start Ray come first"
    assert says.count("a test that starts one has to be marked: pytest.mark.ray") == 2
    assert "= not tested here =" in says
    assert "\n2 tests: it is Sunday\n" in says


def test_who_shares_a_ray_is_marked(tmp_path: Path) -> None:
    file = tmp_path / "test_some.py"
    file.write_text(TESTS)
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "one_ray", "-q", "--collect-only", "-c", os.devnull, "-m", "ray", file],
        env=ENVIRONMENT, cwd=tmp_path, capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert [line.split("::")[1] for line in done.stdout.splitlines() if "::" in line] == [
        "test_shares_one", "test_says_so"
    ]  # fmt: skip


def test_a_session_without_a_browser_says_so() -> None:
    tests = Path(__file__).parent / "report/sweep/test_sweep_page_in_a_browser.py"
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", tests],
        env={**os.environ, "PATH": str(Path(sys.executable).parent)}, cwd=Path(__file__).parents[1],
        capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert "10 tests: a page is opened in no browser, since there is no chromium, chromium-browser or" in done.stdout
