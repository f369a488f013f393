"""A run that starts a Ray of its own: it listens on this machine alone, asks for a token, and tells nobody.

One run serves all tests; the last one stops it.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from interruptible import interruptible
from sockets import Listener, below, listeners

pytestmark = [pytest.mark.slow, pytest.mark.ray, pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")]

WORDS = "train --workers 2 --epochs 100000 --checkpoint-seconds 0.1 --run-name endless"


@pytest.fixture(scope="module")
def home() -> Iterator[Path]:
    """Short: Ray's sockets lie in it."""
    folder = Path(tempfile.mkdtemp(prefix="rm", dir="/tmp"))
    yield folder
    shutil.rmtree(folder)


@pytest.fixture(scope="module")
def foreign(home: Path) -> Iterator[socket.socket]:
    """Where somebody else's Ray is said to be, as ``ray start`` says it to all who look for one."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        (home / "ray").mkdir()
        (home / "ray/ray_current_cluster").write_text("{}:{}".format(*listening.getsockname()))
        listening.setblocking(False)
        yield listening


@pytest.fixture(scope="module")
def run(home: Path, foreign: socket.socket) -> Iterator[subprocess.Popen[bytes]]:
    """A run in the middle of its training, in an environment and a home that say nothing of Ray."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("RAY_", "GLOO_"))}
    private = {"HOME": str(home), "RAY_TMPDIR": str(home)}
    with (home / "log").open("wb") as log, (home / "errors").open("wb") as errors, interruptible():
        started = subprocess.Popen(
            [sys.executable, "-m", "ray_mentor", *WORDS.split()],
            cwd=home, env={**environment, **private}, stdout=log, stderr=errors, start_new_session=True,
        )  # fmt: skip
    try:
        deadline = time.monotonic() + 400
        while b"\nepoch " not in (home / "log").read_bytes():
            assert started.poll() is None, (home / "errors").read_text()
            assert time.monotonic() < deadline, (home / "log").read_text() + (home / "errors").read_text()
            time.sleep(0.2)
        yield started
    finally:
        for pid in below(started.pid) if started.poll() is None else ():
            os.kill(pid, signal.SIGKILL)
        started.wait(30)


@pytest.fixture(scope="module")
def found(run: subprocess.Popen[bytes]) -> list[Listener]:
    return listeners(below(run.pid))


def test_there_are_listeners(found: list[Listener]) -> None:
    """So that the test below says something."""
    processes = " ".join(listener.process for listener in found)
    for name in ("gcs_server", "raylet", "dashboard", "MentorActor", "RayTrainWorker"):
        assert name in processes


def test_nobody_outside_can_reach_them(found: list[Listener]) -> None:
    """But for one: the store in which rank 0's PyTorch lets the ranks meet, which can listen on all interfaces only."""
    outside = [listener for listener in found if not listener.is_loopback]
    assert len(outside) <= 1, outside
    assert all("RayTrainWorker" in listener.process for listener in outside), outside


@pytest.mark.parametrize("path", ["/api/jobs/", "/api/v0/actors", "/nodes?view=summary"])
def test_the_dashboard_asks_for_a_token(found: list[Listener], path: str) -> None:
    (port,) = {each.port for each in found if "dashboard.py" in each.process and answers(each.port)}
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=10)
    assert refused.value.code == 401
    refused.value.close()


def answers(port: int) -> bool:
    """Whether this is the dashboard's page, and not its metrics."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/api/version", timeout=10) as reply:
            return b"ray_version" in reply.read()
    except urllib.error.HTTPError as error:
        error.close()
        return error.code == 401
    except OSError:
        return False


def test_usage_statistics_are_off_in_every_process(run: subprocess.Popen[bytes]) -> None:
    seen = 0
    for pid in below(run.pid):
        try:
            environment = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
        except OSError:  # it has ended
            continue
        if not re.match(rb"\w+=", environment[0]):  # the title that Ray gives a process may lie over it
            continue
        assert b"RAY_USAGE_STATS_ENABLED=0" in environment or pid == run.pid
        seen += 1
    assert seen > 5


def test_the_token_is_the_owners_alone(run: subprocess.Popen[bytes], home: Path) -> None:
    assert (home / ".ray/auth_token").stat().st_mode & 0o777 == 0o600


def test_it_is_no_one_elses_ray(run: subprocess.Popen[bytes], foreign: socket.socket) -> None:
    """One that runs on this machine may be another user's, or another run's, and end with it."""
    with pytest.raises(BlockingIOError):  # nobody has called
        foreign.accept()


def test_ctrl_c_stops_it(run: subprocess.Popen[bytes], home: Path) -> None:
    """Not as if it were done, which Ray's own handler says by exit code 0; with a checkpoint of this moment."""
    before = set((home / "runs/endless").glob("checkpoints/*.pt"))
    assert before
    run.send_signal(signal.SIGINT)
    code, said = run.wait(200), (home / "errors").read_text()
    assert code == 130, said
    found = re.fullmatch(
        r"\nstopping as soon as a checkpoint is written; Ctrl-C again: at once\n"
        r"stopped; saved: (.*), step \d+\nto go on:\n  .* train .* --resume\n",
        said,
    )
    assert found, said
    assert Path(found[1]).exists()
    assert Path(found[1]) not in before
    assert not (home / "runs/endless/result.json").exists()
