"""The examples run, and the mentor does what they are there to show."""

from __future__ import annotations

import asyncio
import importlib.util
import os
import re
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from interruptible import interruptible

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
    return accuracies(printed_by(str(EXAMPLES / "plain_loop.py")))


@pytest.mark.slow
def test_the_mentor_helps(alone: dict[str, float]) -> None:
    assert alone["mentor"] > alone["uniform"] + 0.015
    assert alone["mentor"] > 0.9


@pytest.mark.slow
def test_torchrun_with_two_processes_does_the_same(alone: dict[str, float]) -> None:
    run = ("-m", "torch.distributed.run", "--nproc-per-node", "2", "--standalone")
    together = accuracies(printed_by(*run, str(EXAMPLES / "plain_loop.py")))
    assert together == pytest.approx(alone, abs=0.012)


@pytest.mark.slow
@pytest.mark.skipif(find_spec("lightning") is None, reason="Lightning is not installed")
def test_lightning() -> None:
    printed = printed_by(str(EXAMPLES / "lightning_digits.py"), "--epochs", "20")
    found = re.search(r"test accuracy\s+\S\s+([\d.]+)", printed)
    assert found is not None
    assert float(found.group(1)) > 0.9


@pytest.mark.slow
def test_a_mixture_learns_what_its_target_is_like() -> None:
    printed = printed_by(str(EXAMPLES / "learned_mixture.py"))
    bits = dict(re.findall(r"^(\w+) +([\d.]+) bits", printed, re.MULTILINE))
    shares = dict(re.findall(r"(\w+) ([\d.]+)", printed.splitlines()[-1].partition("target")[2]))
    assert float(bits["learned"]) < float(bits["uniform"]) - 0.03
    assert float(shares["code"]) > 0.4
    assert float(shares["junk"]) < 0.2


class Cluster:
    """A cluster's side, with a job on it that writes a line, and then nothing; Ctrl-C is pressed meanwhile."""

    def __init__(self, address: str) -> None:
        self.address = address

    def submit_job(self, **_: Any) -> str:
        return "raysubmit_1"

    async def tail_job_logs(self, job: str) -> AsyncIterator[str]:
        yield f"a line of {job}\n"
        os.kill(os.getpid(), signal.SIGINT)
        await asyncio.sleep(60)


def test_ctrl_c_leaves_a_submitted_job_running_and_says_how_to_stop_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    spec = importlib.util.spec_from_file_location("submit_job", EXAMPLES / "submit_job.py")
    assert spec is not None
    assert spec.loader is not None
    submit_job = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(submit_job)
    monkeypatch.setattr(submit_job, "JobSubmissionClient", Cluster)
    monkeypatch.setattr(sys, "argv", ["submit_job.py", "--address", "http://127.0.0.1:8265", "train"])
    with interruptible():
        assert submit_job.main() == 1
    assert capsys.readouterr() == (
        "a line of raysubmit_1\n",
        "\nthe job goes on; this ends it: ray job stop --address http://127.0.0.1:8265 raysubmit_1\n",
    )
