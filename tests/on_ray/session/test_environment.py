"""What a run changes of its process: while it lasts, for all runs in threads, and for nobody afterwards."""

from __future__ import annotations

import json
import logging
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest
import ray
import torch
from ray._private.worker import _merge_runtime_env
from ray.train.v2._internal import constants

import ray_mentor
from ray_mentor.errors import UserError
from ray_mentor.on_ray.session import own_ray, session
from ray_mentor.on_ray.session.environment import ENVIRONMENT, OF_TRAIN, having, quiet, settled
from ray_mentor.on_ray.session.growth import Needs
from ray_mentor.on_ray.session.internals import of_trainer
from ray_mentor.on_ray.session.own_ray import train_asks_this_ray, what_workers_lack
from ray_mentor.on_ray.session.session import alone_in_process, check_machine, ray_session

JOB = "RAY_JOB_CONFIG_JSON_ENV_VAR"


@pytest.fixture(autouse=True)
def nothing_is_set(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (*ENVIRONMENT, *OF_TRAIN, JOB, "RAY_ADDRESS", "A"):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.long
def test_to_import_us_changes_nothing() -> None:
    code = (
        "import logging, os, ray, ray.train, ray.tune, sklearn, torch\n"  # they set some themselves
        "def seen(): return dict(os.environ), logging.getLogger('ray').level, logging.getLogger('ray.data').level\n"
        "before = seen()\n"
        "import ray_mentor.sweep, ray_mentor.training\n"
        "print(seen() == before)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=True)
    assert done.stdout == "True\n"


def test_what_is_set_in_the_environment_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "1")
    before = dict(os.environ)
    with settled():
        assert os.environ["RAY_USAGE_STATS_ENABLED"] == "1"
        assert os.environ["RAY_CHDIR_TO_TRIAL_DIR"] == "0"
    assert dict(os.environ) == before


ORDERS: list[list[int]] = [[0, 1], [1, 0]]


@pytest.mark.parametrize("leave", ORDERS)
def test_who_leaves_last_puts_back_what_there_was(leave: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    """Two runs in threads end in any order."""
    monkeypatch.setenv("RAY_CHDIR_TO_TRIAL_DIR", "1")
    logging.getLogger("ray.data").setLevel(logging.WARNING)
    stacks = [ExitStack(), ExitStack()]
    for stack in stacks:
        stack.enter_context(having({"RAY_CHDIR_TO_TRIAL_DIR": "0", "A": "b"}))
        stack.enter_context(quiet(verbose=False))
    stacks[leave[0]].close()
    assert (os.environ["RAY_CHDIR_TO_TRIAL_DIR"], os.environ["A"]) == ("0", "b")
    assert logging.getLogger("ray.data").level == logging.ERROR
    stacks[leave[1]].close()
    assert os.environ["RAY_CHDIR_TO_TRIAL_DIR"] == "1"
    assert "A" not in os.environ
    assert logging.getLogger("ray.data").level == logging.WARNING


def test_a_variable_that_somebody_has_removed_meanwhile() -> None:
    with having({"A": "b"}):
        del os.environ["A"]
    assert "A" not in os.environ


def test_train_is_told_of_this_ray_without_a_trace(monkeypatch: pytest.MonkeyPatch) -> None:
    context = type("Context", (), {"gcs_address": "10.0.0.1:6379"})
    monkeypatch.setattr(ray, "get_runtime_context", context)
    before, propagated = dict(os.environ), set(constants.ENV_VARS_TO_PROPAGATE)
    with train_asks_this_ray():
        assert of_trainer._handed_on().items() >= {**OF_TRAIN, "RAY_ADDRESS": "10.0.0.1:6379"}.items()
        assert dict(os.environ) == before
    assert propagated == constants.ENV_VARS_TO_PROPAGATE
    assert "RAY_ADDRESS" not in of_trainer._handed_on()


PACKAGE = str(Path(ray_mentor.__file__).parent)


def test_workers_of_another_ray_are_sent_what_they_lack(monkeypatch: pytest.MonkeyPatch) -> None:
    """Under no job: the package, too."""
    monkeypatch.setenv("RAY_CHDIR_TO_TRIAL_DIR", "1")
    assert what_workers_lack() == {
        "env_vars": {**ENVIRONMENT, "RAY_CHDIR_TO_TRIAL_DIR": "1"},
        "py_modules": [PACKAGE],
    }


def test_a_package_that_is_not_in_a_folder_is_not_sent(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(own_ray, "_PACKAGE", tmp_path / "all.zip/ray_mentor")
    assert what_workers_lack() == {"env_vars": dict(ENVIRONMENT)}


@pytest.mark.parametrize(
    "theirs",
    [
        {},
        {"working_dir": "gcs://_ray_pkg_0.zip"},
        {"py_modules": ["gcs://_ray_pkg_0.zip"]},
        {"env_vars": {"RAY_USAGE_STATS_ENABLED": "0"}},
        {"env_vars": {"RAY_USAGE_STATS_ENABLED": "1", "RAY_CHDIR_TO_TRIAL_DIR": "1", "OTHER": "x"}},
    ],
)
def test_a_job_keeps_what_it_was_submitted_with(monkeypatch: pytest.MonkeyPatch, theirs: dict[str, Any]) -> None:
    """Ray merges the two, or refuses to start: then it gives None."""
    monkeypatch.setenv(JOB, json.dumps({"runtime_env": theirs, "metadata": {}}))
    merged: Any = _merge_runtime_env(theirs, what_workers_lack())
    assert merged == {**theirs, "env_vars": {**ENVIRONMENT, **theirs.get("env_vars", {})}}


class Connections:
    """In the place of Ray: who has connected, and who is."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.made = self.alive = 0
        monkeypatch.setattr(ray, "is_initialized", lambda: self.alive > 0)
        monkeypatch.setattr(ray, "cluster_resources", lambda: {"CPU": 8.0})
        monkeypatch.setattr(session, "_connected", self.connected)
        monkeypatch.setattr(session, "train_asks_this_ray", ExitStack)

    @contextmanager
    def connected(self, needs: Needs, verbose: bool) -> Any:
        self.made, self.alive = self.made + 1, self.alive + 1
        try:
            yield
        finally:
            self.alive -= 1


@pytest.mark.parametrize("leave", ORDERS)
def test_two_runs_in_threads_share_a_ray_until_both_have_ended(
    leave: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    there = Connections(monkeypatch)
    stacks = [ExitStack(), ExitStack()]
    for stack in stacks:
        assert stack.enter_context(ray_session(Needs({"CPU": 1.0}), verbose=False))  # it is theirs alone
    assert (there.made, there.alive) == (1, 1)
    stacks[leave[0]].close()
    assert there.alive == 1
    stacks[leave[1]].close()
    assert there.alive == 0
    with ray_session(Needs({"CPU": 1.0}), verbose=False):
        assert (there.made, there.alive) == (2, 1)
    assert there.alive == 0


def test_a_ray_that_the_process_has_itself_is_used_and_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    there = Connections(monkeypatch)
    there.alive = 1
    with (
        ray_session(Needs({"CPU": 1.0}), verbose=False) as is_ours,
        ray_session(Needs({"CPU": 1.0}), verbose=False) as is_ours_again,
    ):
        assert (there.made, is_ours, is_ours_again) == (0, False, False)
    assert there.alive == 1


def test_a_ray_that_is_named_is_not_the_runs_own(monkeypatch: pytest.MonkeyPatch) -> None:
    there = Connections(monkeypatch)
    monkeypatch.setenv("RAY_ADDRESS", "10.0.0.1:6379")
    with ray_session(Needs({"CPU": 1.0}), verbose=False) as is_ours:
        assert (there.made, is_ours) == (1, False)


def test_a_run_that_does_not_fit_leaves_nothing_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    there = Connections(monkeypatch)
    before = dict(os.environ)
    with pytest.raises(UserError, match="the workers need 9 CPUs"), ray_session(Needs({"CPU": 9.0}), verbose=False):
        pass
    assert there.alive == 0
    assert dict(os.environ) == before


@pytest.mark.parametrize(
    ("there", "more"),
    [
        (None, ""),
        ("cuda", ""),
        ("mps", " (there is mps, but runs train on CUDA's GPUs alone)"),
        ("xpu", " (there is xpu, but runs train on CUDA's GPUs alone)"),
    ],
)
def test_an_accelerator_that_runs_do_not_train_on_is_named(
    monkeypatch: pytest.MonkeyPatch, there: str | None, more: str
) -> None:
    found = None if there is None else torch.device(there)
    monkeypatch.setattr(torch.accelerator, "current_accelerator", lambda check_available: found)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    with pytest.raises(UserError) as raised:
        check_machine(Needs({"GPU": 1.0}))
    assert str(raised.value) == f"the workers need 1 GPUs, but there are 0; give --no-gpu{more}"


def in_a_thread(run: Callable[[], None]) -> None:
    thread = threading.Thread(target=run)
    thread.start()
    thread.join(60)


def test_one_run_at_a_time_trains_in_a_process() -> None:
    said: list[str] = []

    def second() -> None:
        try:
            with alone_in_process():
                said.append("trained")
        except UserError as error:
            said.append(str(error))

    with alone_in_process():
        in_a_thread(second)
    in_a_thread(second)
    assert said == [
        "workers is 0, which trains in this process, but another run trains in it already; wait until that has ended, "
        "give 1 worker or more, or start a process for each",
        "trained",
    ]


ENDS_WITH_ITS_THREAD = """
import ctypes, signal, sys, time
ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG, which Ray sets for all that it starts
print("ready", flush=True)
time.sleep(60)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere Ray's processes do not end with a thread")
def test_a_ray_outlives_the_thread_whose_run_started_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """The kernel ends Ray's processes with the thread that started them, which may be that of the shorter run."""
    there = Connections(monkeypatch)
    processes: list[subprocess.Popen[str]] = []

    @contextmanager
    def connected(needs: Needs, verbose: bool) -> Any:
        with there.connected(needs, verbose):
            command = [sys.executable, "-c", ENDS_WITH_ITS_THREAD]
            with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
                assert process.stdout is not None
                assert process.stdout.readline() == "ready\n"
                processes.append(process)
                try:
                    yield
                finally:
                    process.kill()

    monkeypatch.setattr(session, "_connected", connected)
    first, second = ExitStack(), ExitStack()
    needs = Needs({"CPU": 1.0})
    in_a_thread(lambda: first.enter_context(ray_session(needs, verbose=False)))
    second.enter_context(ray_session(needs, verbose=False))
    first.close()
    with pytest.raises(subprocess.TimeoutExpired):
        processes[0].wait(1.0)
    second.close()
    assert there.alive == 0
    assert processes[0].wait(10) == -9


def test_what_goes_wrong_in_the_start_is_raised_in_the_thread_that_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    there = Connections(monkeypatch)
    said: list[str] = []

    @contextmanager
    def connected(needs: Needs, verbose: bool) -> Any:
        raise UserError("no Ray there")
        yield

    monkeypatch.setattr(session, "_connected", connected)

    def run() -> None:
        try:
            with ray_session(Needs({"CPU": 1.0}), verbose=False):
                said.append("started")
        except UserError as error:
            said.append(str(error))

    in_a_thread(run)
    assert said == ["no Ray there"]
    monkeypatch.setattr(session, "_connected", there.connected)
    in_a_thread(run)
    assert said == ["no Ray there", "started"]
    assert there.alive == 0


def test_a_thread_that_ends_the_last_run_leaves_signals_alone() -> None:
    """Python lets none but the main thread give them a meaning."""
    found, raised = signal.getsignal(signal.SIGTERM), []

    def put_back() -> None:
        try:
            session.put_back(signal.SIG_IGN, signal.SIGTERM)
        except ValueError as error:
            raised.append(error)

    thread = threading.Thread(target=put_back)
    thread.start()
    thread.join()
    assert not raised
    assert signal.getsignal(signal.SIGTERM) is found


class Rays:
    """Ray, as far as it puts a handler of its own in place when it starts."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("RAY_ADDRESS", "10.0.0.1:6379")
        monkeypatch.setattr(ray, "init", self.init)
        monkeypatch.setattr(ray, "shutdown", lambda: None)

    def init(self, **_: Any) -> None:
        signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(number))


@pytest.fixture
def sigterm() -> Iterator[None]:
    before = signal.getsignal(signal.SIGTERM)
    yield
    signal.signal(signal.SIGTERM, before)


def connected() -> Any:
    return session._connected(Needs({"CPU": 1.0}), False)


def test_a_users_own_sigterm_handler_is_called_while_ray_is_there(
    monkeypatch: pytest.MonkeyPatch, sigterm: None
) -> None:
    Rays(monkeypatch)
    calls: list[int] = []
    signal.signal(signal.SIGTERM, lambda number, frame: calls.append(number))
    with connected():
        os.kill(os.getpid(), signal.SIGTERM)
        assert calls == [signal.SIGTERM]


def test_sigterm_that_is_ignored_stays_so_while_ray_is_there(monkeypatch: pytest.MonkeyPatch, sigterm: None) -> None:
    Rays(monkeypatch)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    with connected():
        os.kill(os.getpid(), signal.SIGTERM)
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_IGN


def test_sigterm_without_a_handler_stops_a_run_as_ctrl_c_does(monkeypatch: pytest.MonkeyPatch, sigterm: None) -> None:
    Rays(monkeypatch)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    with pytest.raises(KeyboardInterrupt), connected():
        os.kill(os.getpid(), signal.SIGTERM)
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


@pytest.mark.ray
@pytest.mark.slow
def test_a_users_own_sigterm_handler_stays() -> None:
    """Ray puts a handler of its own in place when it starts."""

    def ours(*_: object) -> None:
        pass

    found = signal.signal(signal.SIGTERM, ours)
    try:
        with ray_session(Needs({"CPU": 1.0}), verbose=False):
            assert ray.is_initialized()
            assert signal.getsignal(signal.SIGTERM) is ours
        assert signal.getsignal(signal.SIGTERM) is ours
    finally:
        signal.signal(signal.SIGTERM, found)
