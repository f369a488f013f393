"""The examples run, and the mentor does what they are there to show."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[1] / "examples"


def printed_by(*command: str) -> str:
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "lo"}
    done = subprocess.run(
        [sys.executable, *command], env=environment, capture_output=True, text=True, timeout=560, check=False
    )
    assert done.returncode == 0, done.stderr[-4000:]
    return done.stdout


def accuracies(printed: str) -> dict[str, float]:
    return {name: float(value) for name, value in re.findall(r"^(\w+) +test accuracy ([\d.]+)$", printed, re.MULTILINE)}


@pytest.fixture(scope="module")
def alone() -> dict[str, float]:
    return accuracies(printed_by(str(EXAMPLES / "plain_loop.py"), "--epochs", "20"))


def test_the_mentor_helps(alone: dict[str, float]) -> None:
    assert alone["mentor"] > alone["uniform"] + 0.01
    assert alone["mentor"] > 0.9


def test_torchrun_with_two_processes_does_the_same(alone: dict[str, float]) -> None:
    run = ("-m", "torch.distributed.run", "--nproc-per-node", "2", "--standalone")
    together = accuracies(printed_by(*run, str(EXAMPLES / "plain_loop.py"), "--epochs", "20"))
    assert together == pytest.approx(alone, abs=0.012)


@pytest.mark.skipif(find_spec("lightning") is None, reason="Lightning is not installed")
def test_lightning() -> None:
    printed = printed_by(str(EXAMPLES / "lightning_digits.py"), "--epochs", "20")
    found = re.search(r"test accuracy\s+\S\s+([\d.]+)", printed)
    assert found is not None
    assert float(found.group(1)) > 0.9
