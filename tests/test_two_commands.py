"""``make run``, then ``make test``, in one checkout: no check depends on what a run leaves behind."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from checkouts import GATHERS, ROOT, make_checkout

BIN = Path(sys.executable).parent


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """With runs, data and stray files in it."""
    made = make_checkout(tmp_path_factory.mktemp("used") / "checkout")
    if (ROOT / ".mypy_cache").exists():  # mypy reads all of PyTorch and Ray otherwise
        shutil.rmtree(made / ".mypy_cache")
        shutil.copytree(ROOT / ".mypy_cache", made / ".mypy_cache")
    (made / "installed").touch()
    return made


def lint(checkout: Path) -> subprocess.CompletedProcess[str]:
    """What ``make lint`` says there, with the tools that are installed here."""
    return subprocess.run(
        ["make", "lint", f"BIN={BIN}", "STAMP=installed"],
        cwd=checkout, env={**os.environ, "PYTHONPATH": str(checkout)}, capture_output=True, text=True, timeout=600,
        check=False,
    )  # fmt: skip


@pytest.mark.slow  # copies what mypy writes, and in `make check` mypy runs beside the tests
def test_what_a_run_leaves_behind_is_no_matter_to_the_checks(checkout: Path) -> None:
    assert {"runs", "data", "stray.parquet"} <= {Path(name).parts[0] for name in GATHERS}
    done = lint(checkout)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.slow
@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("import  os\n", "would be reformatted"),
        ("import os\n", "F401"),
        ("\ndef untyped(x):  # noqa: D103\n    return x\n", "no-untyped-def"),
        ("import ray\n\nprint(ray)\n", "ray_mentor.run.mistake -> ray"),
    ],
)
def test_each_check_is_made(checkout: Path, text: str, said: str) -> None:
    module = checkout / "ray_mentor/run/mistake.py"
    module.write_text(f'"""A mistake."""\n\n{text}')
    try:
        done = lint(checkout)
    finally:
        module.unlink()
    assert done.returncode != 0
    assert said in done.stdout + done.stderr


class Machine:
    """A folder with a checkout's ``.ci/run``, and programs that do nothing but say what they were told."""

    def __init__(self, folder: Path, user: int, *has: str) -> None:
        self._said = folder / "said"
        self._said.touch()
        self._run = folder / "checkout/.ci/run"
        self._run.parent.mkdir(parents=True)
        shutil.copy(ROOT / ".ci/run", self._run)
        self._programs = folder / "bin"
        self._programs.mkdir()
        for name in ("make", "apt-get", *has):
            self._program(name, f'echo "{name} $*" >> {self._said}')
        self._program("sudo", f'echo "sudo $*" >> {self._said}')
        self._program("id", f"echo {user}")
        for name in ("bash", "dirname", "env"):
            (self._programs / name).symlink_to(str(shutil.which(name)))

    def _program(self, name: str, line: str) -> None:
        path = self._programs / name
        path.write_text(f"#!/bin/sh\n{line}\n")
        path.chmod(0o755)

    def says(self) -> list[str]:
        """What CI does there, a command a line."""
        subprocess.run([self._run], env={"PATH": str(self._programs)}, timeout=60, check=True)
        return self._said.read_text().splitlines()


CHECKS = ["make run", "make test", "make test-slow"]
INSTALL = ["apt-get update -q", "apt-get install -y -q --no-install-recommends chromium"]


@pytest.mark.parametrize("browser", ["chromium", "chromium-browser", "google-chrome"])
def test_ci_does_what_a_newcomer_does_in_one_checkout(tmp_path: Path, browser: str) -> None:
    assert Machine(tmp_path, 1000, browser).says() == CHECKS


@pytest.mark.parametrize(("user", "prefix"), [(0, ""), (1000, "sudo ")])
def test_ci_installs_a_browser_where_there_is_none(tmp_path: Path, user: int, prefix: str) -> None:
    assert Machine(tmp_path, user).says() == [*(prefix + line for line in INSTALL), *CHECKS]


@pytest.mark.parametrize("script", [".ci/run", "benchmarks/gpu.sh", "benchmarks/noisy_cifar.sh"])
def test_the_shell_is_clean(script: str) -> None:
    done = subprocess.run([BIN / "shellcheck", ROOT / script], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "")
