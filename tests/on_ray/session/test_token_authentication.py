"""The README's commands for a Ray with a token: without it nobody is let in. With it: ``test_submitted_jobs.py``."""

from __future__ import annotations

import json
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from heads import EXPORT, ROOT, SUBMIT, Head, a_head
from sockets import below, listeners

LOOPBACK = {"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0", "PYTHONPATH": str(ROOT)}

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")


@pytest.fixture(scope="module")
def head() -> Iterator[Head]:
    with a_head(cpus=2) as started:
        yield started


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
    line = head.here(SUBMIT).split(" -- ")[0] + " -- touch submitted"
    log = tmp_path / "log"
    (tmp_path / "empty").mkdir()
    done = head.shell(line, log=log, folder=tmp_path / "empty", HOME=str(tmp_path), **variables)
    assert done.wait(200) != 0
    assert said in log.read_text()
    assert not list(head.home.rglob("submitted"))


@pytest.fixture(scope="module")
def stranger(head: Head, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[subprocess.Popen[bytes], Path]]:
    """A driver that knows the address and has no token; Ray takes half a minute to say no."""
    folder = tmp_path_factory.mktemp("stranger")
    process = head.shell(
        "python -m ray_mentor train --workers 1 --run-name stranger", log=folder / "log",
        HOME=str(folder), RAY_ADDRESS=f"127.0.0.1:{head.port}", **LOOPBACK,
    )  # fmt: skip
    yield process, folder / "log"
    process.kill()


AUTO = """
import ray
from ray_mentor.on_ray.session.growth import Needs, has_autoscaler
from ray_mentor.on_ray.session.session import ray_session
with ray_session(Needs({"CPU": 1.0}), verbose=False):
    print(ray.get_runtime_context().gcs_address, has_autoscaler())
"""


def test_who_asks_for_the_one_that_is_there_gets_it(head: Head, tmp_path: Path) -> None:
    log = tmp_path / "log"
    asks = head.shell(f"exec python -c '{AUTO}'", log=log, RAY_ADDRESS="auto", **LOOPBACK)
    assert asks.wait(300) == 0, log.read_text()
    assert log.read_text() == f"127.0.0.1:{head.port} False\n"


FROM_A_WORKER = """
import ray
from ray_mentor.on_ray.session.growth import Needs
from ray_mentor.on_ray.session.session import ray_session

@ray.remote(num_cpus=0)
def seen():
    import os, ray_mentor
    return ray_mentor.__file__, os.environ["RAY_USAGE_STATS_ENABLED"], os.environ["RAY_CHDIR_TO_TRIAL_DIR"]

with ray_session(Needs({"CPU": 1.0}), verbose=False):
    print("seen", *ray.get(seen.remote()))
"""


def seen_by_a_worker(log: Path) -> list[str]:
    [line] = [line for line in log.read_text().splitlines() if line.startswith("seen ")]
    return line.split()[1:]


def test_a_driver_that_is_no_job_brings_the_package_and_its_own_variables(head: Head, tmp_path: Path) -> None:
    """As a notebook does that is somewhere else: neither its folder nor its environment is the cluster's."""
    log = tmp_path / "log"
    shutil.copytree(
        ROOT / "ray_mentor", tmp_path / "elsewhere/ray_mentor", ignore=shutil.ignore_patterns("__pycache__")
    )
    path = {**LOOPBACK, "PYTHONPATH": str(tmp_path / "elsewhere"), "RAY_CHDIR_TO_TRIAL_DIR": "1"}
    run = head.shell(f"exec python -c '{FROM_A_WORKER}'", log=log, RAY_ADDRESS="auto", **path)
    assert run.wait(300) == 0, log.read_text()
    file, statistics, chdir = seen_by_a_worker(log)
    assert file.startswith(str(head.home / "ray"))
    assert file.endswith("/ray_mentor/__init__.py")
    assert "py_modules_files" in file
    assert (statistics, chdir) == ("0", "1")


def test_a_job_that_sets_one_of_our_variables_starts_and_keeps_its_own(head: Head, tmp_path: Path) -> None:
    log = tmp_path / "log"
    theirs = {"env_vars": {"RAY_USAGE_STATS_ENABLED": "1", **LOOPBACK}}
    (tmp_path / "job.py").write_text(FROM_A_WORKER)
    words = f"--runtime-env-json {shlex.quote(json.dumps(theirs))} -- python {tmp_path}/job.py"
    job = head.shell(EXPORT, f"exec {head.here(SUBMIT).split(' --working-dir')[0]} {words}", log=log)
    assert job.wait(300) == 0, log.read_text()
    _, statistics, chdir = seen_by_a_worker(log)
    assert (statistics, chdir) == ("1", "0")


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
