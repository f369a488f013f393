"""The README's commands for a Ray with a token: with it a job runs to its end, without it nobody is let in.

Takes about 80 s on two cores: a head of Ray, a job's driver, and a worker.
"""

from __future__ import annotations

import os
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest
from sockets import below, listeners

ROOT = Path(__file__).parents[2]
PORTS = ("port", "dashboard-port", "dashboard-agent-listen-port", "dashboard-agent-grpc-port", "runtime-env-agent-port",
         "metrics-export-port", "ray-client-server-port", "node-manager-port", "object-manager-port")  # fmt: skip

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")


def commands() -> list[str]:
    """The lines of code in the README's section on security."""
    section = (ROOT / "README.md").read_text(encoding="utf-8").split("\n## Security\n")[1].split("\n## ")[0]
    return [line.strip() for line in section.splitlines() if line.startswith("    ")]


GENERATE, EXPORT, START, ARCHIVE, SUBMIT = commands()


@dataclass(frozen=True)
class Head:
    """A Ray with a token.

    Attributes:
        process: its ``ray start``.
        home: where its user is at home, with the token.
        port: of the cluster.
        dashboard: the port of its dashboard.
        variables: the environment that is as if nobody had ever heard of Ray.
    """

    process: subprocess.Popen[bytes]
    home: Path
    port: int
    dashboard: int
    variables: dict[str, str]

    def shell(self, *lines: str, log: Path, **more: str) -> subprocess.Popen[bytes]:
        """Starts lines of a shell in the user's home."""
        with log.open("wb") as out:
            return subprocess.Popen(
                ["bash", "-ec", "\n".join(lines)], cwd=self.home, env={**self.variables, **more}, stdout=out, stderr=out
            )


def free_ports(count: int) -> list[int]:
    """Ports that nobody has, all different."""
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]


@pytest.fixture(scope="module")
def head() -> Iterator[Head]:
    home = Path(tempfile.mkdtemp(prefix="rm", dir="/tmp"))  # short: Ray's sockets lie in it
    ports = dict(zip(PORTS, free_ports(len(PORTS)), strict=True))
    variables = {name: value for name, value in os.environ.items() if not name.startswith(("RAY_", "GLOO_"))}
    variables |= {
        "HOME": str(home),
        "RAY_TMPDIR": str(home),
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
    }
    options = " ".join(f"--{name}={port}" for name, port in ports.items())
    line = f"exec env {START} {options} --num-cpus=2 --temp-dir={home}/ray"
    head = Head(None, home, ports["port"], ports["dashboard-port"], variables)  # type: ignore[arg-type]
    process = head.shell(GENERATE, EXPORT, line, log=home / "head.log")
    try:
        wait_for(process, home / "head.log", "Ray runtime started")
        yield Head(process, home, head.port, head.dashboard, variables)
    finally:
        for pid in below(process.pid):  # asked to end, Ray's dashboard waits for half a minute once it has seen a job
            os.kill(pid, signal.SIGKILL)
        process.wait(30)
        shutil.rmtree(home)


def wait_for(process: subprocess.Popen[bytes], log: Path, text: str, seconds: float = 300) -> None:
    deadline = time.monotonic() + seconds
    while text not in log.read_text(errors="replace"):
        assert process.poll() is None, log.read_text()
        assert time.monotonic() < deadline, log.read_text()
        time.sleep(0.2)


def test_the_token_is_its_owners_alone(head: Head) -> None:
    assert (head.home / ".ray/auth_token").stat().st_mode & 0o777 == 0o600


def test_it_listens_on_this_machine_alone(head: Head) -> None:
    found = listeners(below(head.process.pid))
    assert {head.port, head.dashboard} <= {listener.port for listener in found}
    assert [listener for listener in found if not listener.is_loopback] == []


@pytest.mark.usefixtures("stranger")
@pytest.mark.parametrize(
    ("variables", "said"),
    [
        ({}, "Unauthorized: Missing authentication token"),
        ({"RAY_AUTH_MODE": "token"}, "couldn't find an authentication token"),
        ({"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": "0" * 64}, "Forbidden: Invalid authentication token"),
    ],
)
def test_a_job_without_the_token_is_refused(head: Head, tmp_path: Path, variables: dict[str, str], said: str) -> None:
    line = SUBMIT.replace("8265", str(head.dashboard)).split(" -- ")[0] + " -- touch submitted"
    log = tmp_path / "log"
    done = head.shell("mkdir -p job", line, log=log, HOME=str(tmp_path), **variables)
    assert done.wait(200) != 0
    assert said in log.read_text()
    assert not list(head.home.rglob("submitted"))


@pytest.fixture(scope="module")
def stranger(head: Head, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[subprocess.Popen[bytes], Path]]:
    """A driver that knows the address and has no token; Ray takes half a minute to say no."""
    folder = tmp_path_factory.mktemp("stranger")
    process = head.shell(
        "python -m ray_mentor train --workers 1 --run-name stranger", log=folder / "log",
        HOME=str(folder), RAY_ADDRESS=f"127.0.0.1:{head.port}", RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER="0",
    )  # fmt: skip
    yield process, folder / "log"
    process.kill()


AUTO = """
import ray
from ray_mentor.on_ray.session import ray_session
with ray_session(1, 0, verbose=False):
    print(ray.get_runtime_context().gcs_address)
"""


def test_who_asks_for_the_one_that_is_there_gets_it(head: Head, tmp_path: Path) -> None:
    log = tmp_path / "log"
    asks = head.shell(f"exec python -c '{AUTO}'", log=log, RAY_ADDRESS="auto", RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER="0")
    assert asks.wait(300) == 0, log.read_text()
    assert log.read_text() == f"127.0.0.1:{head.port}\n"


@pytest.mark.usefixtures("stranger")
def test_a_job_with_the_token_ends_well(head: Head, tmp_path: Path) -> None:
    if subprocess.run(["git", "-C", str(ROOT), "rev-parse"], capture_output=True, check=False).returncode:
        pytest.skip("this is no git repository")
    archive = ARCHIVE.replace("git archive", f"git -C {shlex.quote(str(ROOT))} archive")
    submit = f"{SUBMIT.replace('8265', str(head.dashboard))} --workers 1 --epochs 2 --run-name submitted"
    job = head.shell(EXPORT, archive, submit, log=tmp_path / "job")
    try:
        assert job.wait(400) == 0, (tmp_path / "job").read_text()
    finally:
        job.kill()
    assert (head.home / "runs/submitted/result.json").exists()
    said = (tmp_path / "job").read_text()
    assert "succeeded" in said
    assert "epoch 2/2" in said


def test_a_driver_without_the_token_is_told_what_it_lacks(
    head: Head, stranger: tuple[subprocess.Popen[bytes], Path]
) -> None:
    process, log = stranger
    assert process.wait(300) == 2, log.read_text()
    assert log.read_text().splitlines()[-1] == (
        f"error: RAY_ADDRESS is '127.0.0.1:{head.port}', but no Ray there lets us in; check that it runs, and if it "
        "asks for a token, set RAY_AUTH_MODE=token, and RAY_AUTH_TOKEN_PATH to the file that holds it"
    )
    assert not (head.home / "runs/stranger").exists()
