"""A Ray with a token, started on this machine by the commands of docs/security.md, and jobs submitted to it."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sockets import below

ROOT = Path(__file__).parents[3]
PORTS = ("port", "dashboard-port", "dashboard-agent-listen-port", "dashboard-agent-grpc-port", "runtime-env-agent-port",
         "metrics-export-port", "ray-client-server-port", "node-manager-port", "object-manager-port")  # fmt: skip


def documented_commands() -> list[str]:
    """The lines of code on the page about security."""
    page = (ROOT / "docs/security.md").read_text(encoding="utf-8")
    return [line.strip() for line in page.splitlines() if line.startswith("    ")]


GENERATE, EXPORT, START, SUBMIT = documented_commands()


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

    def shell(self, *lines: str, log: Path, folder: Path | None = None, **more: str) -> subprocess.Popen[bytes]:
        """Starts lines of a shell in ``folder``, or the user's home."""
        with log.open("wb") as out:
            return subprocess.Popen(
                ["bash", "-ec", "\n".join(lines)],
                cwd=folder or self.home,
                env={**self.variables, **more},
                stdout=out,
                stderr=out,
            )

    def here(self, line: str) -> str:
        """A command of the page's, to this dashboard."""
        return line.replace("8265", str(self.dashboard))

    def asked(self, path: str) -> Any:
        """What the dashboard answers to one who has the token."""
        token = (self.home / ".ray/auth_token").read_text().strip()
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.dashboard}{path}", headers={"Authorization": f"Bearer {token}"}
        )
        with urllib.request.urlopen(request, timeout=60) as reply:
            return json.loads(reply.read())

    def in_state(self, kind: str, state: str) -> list[dict[str, Any]]:
        """The cluster's ``actors`` or ``placement_groups`` in this state."""
        query = f"filter_keys=state&filter_predicates=%3D&filter_values={state}"
        found: list[dict[str, Any]] = self.asked(f"/api/v0/{kind}?{query}")["data"]["result"]["result"]
        return found


def _free_ports(count: int) -> list[int]:
    """Ports that nobody has, all different."""
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]


@contextmanager
def a_head(cpus: int, scaling: dict[str, Any] | None = None, **more: str) -> Iterator[Head]:
    """A head that says it has so many CPUs; nothing of it is left afterwards.

    Args:
        scaling: the autoscaler's config; None: it adds no machine.
        more: environment variables.
    """
    home = Path(tempfile.mkdtemp(prefix="rm", dir="/tmp"))  # short: Ray's sockets lie in it
    ports = dict(zip(PORTS, _free_ports(len(PORTS)), strict=True))
    variables = {
        name: value for name, value in os.environ.items() if not name.startswith(("RAY_", "GLOO_", "PYTHONPATH"))
    }
    variables |= {
        "HOME": str(home),
        "RAY_TMPDIR": str(home),
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "OMP_NUM_THREADS": "1",
        "RAY_raylet_start_wait_time_s": "300",  # 30 by default, too few on a busy machine
    }
    options = " ".join(f"--{name}={port}" for name, port in ports.items())
    if scaling is not None:
        scaling["provider"]["gcs_address"] = f"127.0.0.1:{ports['port']}"
        (home / "scaling.yaml").write_text(json.dumps(scaling))
        options += f" --autoscaling-config={home}/scaling.yaml"
    line = f"exec env {START} {options} --num-cpus={cpus} --temp-dir={home}/ray"
    head = Head(None, home, ports["port"], ports["dashboard-port"], variables)  # type: ignore[arg-type]
    process = head.shell(GENERATE, EXPORT, line, log=home / "head.log", **more)
    try:
        wait_for(lambda: "Ray runtime started" in said(home / "head.log"), process, home / "head.log")
        yield Head(process, home, head.port, head.dashboard, variables)
    finally:
        for pid in below(process.pid):  # asked to end, Ray's dashboard waits for half a minute once it has seen a job
            os.kill(pid, signal.SIGKILL)
        process.wait(30)
        shutil.rmtree(home, ignore_errors=True)  # what outlived its parent may still write


def said(log: Path) -> str:
    return log.read_text(errors="replace")


def wait_for(
    happened: Callable[[], object], process: subprocess.Popen[bytes] | None, log: Path, seconds: float = 500
) -> None:
    """Until it has happened, while the process that it depends on, if any, is alive."""
    deadline = time.monotonic() + seconds
    while not happened():
        assert process is None or process.poll() is None, said(log)
        assert time.monotonic() < deadline, said(log)
        time.sleep(0.1)
