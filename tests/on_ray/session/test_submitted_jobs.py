"""Jobs that are submitted to a Ray with a token on this machine, as to any cluster: end well, stop, go on.

Four jobs, two at a time, from one checkout; with the commands of docs/security.md, one with the example in Python.
Whoever lacks the token is not let in.
"""

from __future__ import annotations

import json
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from checkouts import BYTES, GATHERS, make_checkout
from heads import EXPORT, ROOT, SUBMIT, Head, a_head, said, wait_for
from small_runs import assert_same_run, outcome_of
from sockets import below, listeners

from ray_mentor.cli import main

pytestmark = [pytest.mark.slow, pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")]

SHORT = "--epochs 3 --seed 1 --run-name same"
LONG = "--epochs 30 --seed 2 --run-name same"
SWEEP = "tune smoke --trials 2 --epochs 2 --scheduler none --confirm-seeds 0 --run-name sweep"
MENTOR_BEGINS = 45  # the first 15 % of the long run's 300 steps are burn-in
RAYS_OWN = "_AutoscalingCoordinatorActor"
"""An actor that Ray Train's first run starts for the whole cluster; it takes nothing, and stays."""

LOOPBACK = {"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0", "PYTHONPATH": str(ROOT)}
LONG_ENOUGH = 500.0  # seconds


@dataclass(frozen=True)
class Job:
    """A job, and the client that has submitted it and shows its log."""

    head: Head
    client: subprocess.Popen[bytes]
    log: Path

    def ended_well(self) -> str:
        """What the client has shown by the end of a job that succeeded."""
        assert self.client.wait(LONG_ENOUGH) == 0, said(self.log)
        return said(self.log)

    def info(self) -> dict[str, Any]:
        """What Ray knows of it."""
        found: dict[str, Any] = self.head.asked(f"/api/jobs/{self.log.stem}")
        return found


def job_of(head: Head, name: str, line: str) -> Job:
    """Starts a command in the checkout that submits a job, and follows its log."""
    log = head.home / f"{name}.log"
    return Job(head, head.shell(EXPORT, f"exec {head.here(line)}", log=log, folder=head.home / "checkout"), log)


def train(head: Head, name: str, folder: str, words: str) -> Job:
    """Submits a run of one worker by the page's command; its results come to lie in ``folder``."""
    line = SUBMIT.replace("job submit", f"job submit --submission-id {name}").replace(
        "$PWD/runs", f"{head.home}/{folder}"
    )
    return job_of(head, name, f"{line} --workers 1 {words}")


@pytest.fixture(scope="module")
def head() -> Iterator[Head]:
    with a_head(cpus=4, RAY_JOB_STOP_WAIT_TIME_S="60") as started:  # 3 s by default, too few on a busy machine
        program = make_checkout(started.home / "checkout") / "ray_mentor/__main__.py"
        program.write_text(program.read_text().replace("sys.exit(", "print('uploaded')\nsys.exit("))
        yield started


@pytest.fixture(scope="module")
def short(head: Head) -> Job:
    """A run that is let be."""
    return train(head, "short", "short", SHORT)


@pytest.fixture(scope="module")
def stopped(head: Head, short: Job) -> Job:
    """A run beside it, of the same name in another folder, that is stopped when its mentor has learnt."""
    job = train(head, "long", "long", f"{LONG} --checkpoint-seconds 0")
    checkpoints = head.home / "long/same/checkpoints"
    wait_for(
        lambda: any(int(file.stem.split("-")[1]) > MENTOR_BEGINS for file in checkpoints.glob("step-*.pt")),
        job.client,
        job.log,
    )
    stop = job_of(head, "stop", "ray job stop --address http://127.0.0.1:8265 long")
    assert stop.client.wait(LONG_ENOUGH) == 0, said(stop.log)
    job.client.wait(LONG_ENOUGH)
    return job


@pytest.fixture(scope="module")
def resumed(head: Head, short: Job, stopped: Job) -> Job:
    """The stopped run, taken up again."""
    short.ended_well()
    return train(head, "resumed", "long", f"{LONG} --resume")


@pytest.fixture(scope="module")
def sweep(head: Head, resumed: Job) -> Job:
    """A sweep beside it, from Python."""
    example = "python examples/submit_job.py --address http://127.0.0.1:8265"
    return job_of(head, "sweep", f"{example} {SWEEP} --storage-path {head.home}/sweep")


def here(folder: Path, words: str) -> Path:
    """The same run, undisturbed in this process."""
    assert main(["train", "--workers", "0", *words.split(), "--storage-path", str(folder)]) == 0
    return folder / "same"


# Before there is any job


def test_the_token_is_its_owners_alone(head: Head) -> None:
    assert (head.home / ".ray/auth_token").stat().st_mode & 0o777 == 0o600


def test_it_listens_on_this_machine_alone(head: Head) -> None:
    found = listeners(below(head.process.pid))
    assert {head.port, head.dashboard} <= {listener.port for listener in found}
    assert [listener for listener in found if not listener.is_loopback] == []


@pytest.mark.usefixtures("stranger")
@pytest.mark.parametrize(
    ("variables", "answer"),
    [
        ({}, "Unauthorized: Missing authentication token"),
        ({"RAY_AUTH_MODE": "token"}, "couldn't find an authentication token"),
        ({"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": "0" * 64}, "Forbidden: Invalid authentication token"),
    ],
)
def test_a_job_without_the_token_is_refused(head: Head, tmp_path: Path, variables: dict[str, str], answer: str) -> None:
    line = head.here(SUBMIT).split(" -- ")[0] + " -- touch submitted"
    log = tmp_path / "log"
    (tmp_path / "empty").mkdir()
    done = head.shell(line, log=log, folder=tmp_path / "empty", HOME=str(tmp_path), **variables)
    assert done.wait(LONG_ENOUGH) != 0
    assert answer in said(log)
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
    assert asks.wait(LONG_ENOUGH) == 0, log.read_text()
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
    [line] = [line for line in said(log).splitlines() if line.startswith("seen ")]
    return line.split()[1:]


def test_a_driver_that_is_no_job_brings_the_package_and_its_own_variables(head: Head, tmp_path: Path) -> None:
    """As a notebook does that is somewhere else: neither its folder nor its environment is the cluster's."""
    log = tmp_path / "log"
    shutil.copytree(
        ROOT / "ray_mentor", tmp_path / "elsewhere/ray_mentor", ignore=shutil.ignore_patterns("__pycache__")
    )
    path = {**LOOPBACK, "PYTHONPATH": str(tmp_path / "elsewhere"), "RAY_CHDIR_TO_TRIAL_DIR": "1"}
    run = head.shell(f"exec python -c '{FROM_A_WORKER}'", log=log, RAY_ADDRESS="auto", **path)
    assert run.wait(LONG_ENOUGH) == 0, said(log)
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
    assert job.wait(LONG_ENOUGH) == 0, said(log)
    _, statistics, chdir = seen_by_a_worker(log)
    assert (statistics, chdir) == ("1", "0")


# Jobs


def test_it_ends_well_and_its_log_is_shown(stopped: Job, short: Job) -> None:
    shown = short.ended_well()
    assert [f"epoch {number}/3" in shown for number in (1, 2, 3)] == [True] * 3
    assert "Job 'short' succeeded" in shown


def test_it_ran_what_was_uploaded_and_that_is_small(head: Head, short: Job) -> None:
    (there,) = (head.home / "ray").glob("session_2*/runtime_resources/working_dir_files/_ray_pkg_*/")
    sizes = {str(file.relative_to(there)): file.stat().st_size for file in there.rglob("*") if file.is_file()}
    assert sum(size for name, size in sizes.items() if not name.endswith(".pyc")) < 5_000_000
    assert not [name for name in GATHERS if sizes.get(name) == BYTES]
    assert "uploaded\n" in short.ended_well()


def test_it_is_not_disturbed_by_another_of_the_same_name(head: Head, stopped: Job, short: Job, tmp_path: Path) -> None:
    short.ended_well()
    one, other = short.info(), stopped.info()
    assert max(one["start_time"], other["start_time"]) < min(one["end_time"], other["end_time"])
    assert_same_run(outcome_of(head.home / "short/same"), outcome_of(here(tmp_path, SHORT)))


def test_one_that_is_stopped_leaves_a_checkpoint_and_nothing_in_the_cluster(
    head: Head, stopped: Job, short: Job
) -> None:
    assert stopped.info()["status"] == "STOPPED"
    assert "\nstopped; saved: " in said(stopped.log), said(stopped.log)[-1500:]
    assert list((head.home / "long/same/checkpoints").glob("step-*.pt"))
    assert not (head.home / "long/same/result.json").exists()
    short.ended_well()

    def empty() -> bool:
        alive = {actor["class_name"] for actor in head.in_state("actors", "ALIVE")}
        return alive <= {RAYS_OWN} and not head.in_state("placement_groups", "CREATED")

    wait_for(empty, None, stopped.log, 60)


def test_it_goes_on_as_if_it_had_never_been_stopped(head: Head, sweep: Job, resumed: Job, tmp_path: Path) -> None:
    resumed.ended_well()
    assert_same_run(outcome_of(head.home / "long/same"), outcome_of(here(tmp_path, LONG)))


def test_a_sweep_ends_well(head: Head, sweep: Job) -> None:
    shown = sweep.ended_well()
    assert shown.splitlines()[-1].endswith(": SUCCEEDED")
    found = json.loads((head.home / "sweep/sweep/sweep.json").read_text())
    assert found["states"] == {"finished": 2}


def test_a_driver_without_the_token_is_told_what_it_lacks(
    head: Head, stranger: tuple[subprocess.Popen[bytes], Path]
) -> None:
    process, log = stranger
    assert process.wait(LONG_ENOUGH) == 2, log.read_text()
    assert log.read_text().splitlines()[-1] == (
        f"error: RAY_ADDRESS is '127.0.0.1:{head.port}', but no Ray there lets us in; check that it runs, and if it "
        "asks for a token, set RAY_AUTH_MODE=token, and RAY_AUTH_TOKEN_PATH to the file that holds it"
    )
    assert not (head.home / "runs/stranger").exists()
