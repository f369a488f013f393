"""What surrounds the start of Ray: which one it is, variables, the token's file, the message where nobody is let in."""

from __future__ import annotations

import errno
import logging
import os
import secrets
import signal
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
from ray._private import ray_constants, services
from ray.exceptions import AuthenticationError
from ray.train.torch import TorchTrainer

from ray_mentor.errors import UserError
from ray_mentor.on_ray.session.environment import quiet
from ray_mentor.on_ray.session.internals.of_trainer import StoppableTrainer
from ray_mentor.on_ray.session.own_ray import LOOPBACK, connecting, keep_token_private, on_this_machine_alone
from ray_mentor.on_ray.session.session import ctrl_c_is_ours, named_address, start_patiently


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home of its own, in an environment that says nothing of tokens."""
    for name in ("RAY_AUTH_MODE", "RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH", *LOOPBACK):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    return tmp_path


def mode(path: Path) -> int:
    return path.stat().st_mode & 0o777


def test_a_token_is_made_for_its_owner_alone(home: Path) -> None:
    keep_token_private()
    token = home / ".ray/auth_token"
    assert mode(token) == 0o600
    assert len(bytes.fromhex(token.read_text())) == 32
    before = token.read_text()
    keep_token_private()
    assert token.read_text() == before


def test_two_that_make_the_token_at_once_make_one(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The second comes when the first has looked and not yet written; both get one whole token."""
    writes, seen = secrets.token_hex, []

    def meanwhile(length: int) -> str:
        if not seen:
            seen.append("")
            keep_token_private()
            seen[0] = (home / ".ray/auth_token").read_text()
        return writes(length)

    monkeypatch.setattr(secrets, "token_hex", meanwhile)
    keep_token_private()
    assert (home / ".ray/auth_token").read_text() == seen[0]
    assert len(bytes.fromhex(seen[0])) == 32
    assert [file.name for file in (home / ".ray").iterdir()] == ["auth_token"]


@pytest.mark.parametrize("is_first", [True, False])
def test_a_home_without_hard_links_has_a_private_token_too(
    home: Path, monkeypatch: pytest.MonkeyPatch, is_first: bool
) -> None:
    """Some network homes have none; Ray would write a token for all to read."""

    def link(source: Path, target: Path) -> None:
        if not is_first:
            target.write_text("another process's")
        raise PermissionError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "link", link)
    keep_token_private()
    token = home / ".ray/auth_token"
    if is_first:
        assert mode(token) == 0o600
        assert len(bytes.fromhex(token.read_text())) == 32
    else:
        assert token.read_text() == "another process's"
    assert [file.name for file in (home / ".ray").iterdir()] == ["auth_token"]


def test_a_token_has_its_content_as_soon_as_it_has_its_name(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    writes = secrets.token_hex
    there = []

    def look(length: int) -> str:
        there.append((home / ".ray/auth_token").exists())
        return writes(length)

    monkeypatch.setattr(secrets, "token_hex", look)
    keep_token_private()
    assert there
    assert not any(there)


@pytest.mark.parametrize(
    ("named", "before", "after"),
    [
        (False, 0o664, 0o600),
        (False, 0o640, 0o600),
        (True, 0o640, 0o640),  # a team's
        (True, 0o664, 0o660),
        (True, 0o600, 0o600),
    ],
)
def test_a_token_that_others_could_read_is_kept_and_closed(
    home: Path, monkeypatch: pytest.MonkeyPatch, named: bool, before: int, after: int
) -> None:
    token = home / ("elsewhere" if named else ".ray/auth_token")
    token.parent.mkdir(exist_ok=True)
    token.write_text("abc")
    token.chmod(before)
    if named:
        monkeypatch.setenv("RAY_AUTH_TOKEN_PATH", str(token))
    keep_token_private()
    assert (token.read_text(), mode(token)) == ("abc", after)


@pytest.mark.parametrize(
    ("name", "value"), [("RAY_AUTH_MODE", "disabled"), ("RAY_AUTH_TOKEN", "abc"), ("RAY_AUTH_TOKEN_PATH", "nowhere")]
)
def test_no_token_is_made_where_none_is_asked_for(
    home: Path, monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    monkeypatch.setenv(name, value)
    keep_token_private()
    assert list(home.iterdir()) == []


def test_a_home_that_cannot_be_written_to(home: Path) -> None:
    (home / ".ray").write_text("in the way")
    keep_token_private()


def test_ray_takes_loopback_inside_and_what_it_took_before_outside() -> None:
    before = dict(os.environ)
    with on_this_machine_alone():
        assert services.get_node_ip_address() == "127.0.0.1"
        assert LOOPBACK.items() <= os.environ.items()
    assert dict(os.environ) == before
    assert ray_constants.ENABLE_RAY_CLUSTER


def test_who_wants_all_interfaces_gets_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", "1")
    with on_this_machine_alone():
        assert ray_constants.ENABLE_RAY_CLUSTER
    assert os.environ["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] == "1"


@pytest.mark.parametrize("error", [ConnectionError("no answer"), AuthenticationError("no token")])
def test_a_ray_that_lets_nobody_in(error: Exception) -> None:
    with pytest.raises(UserError) as raised, connecting("10.0.0.1:6379"):
        raise error
    assert str(raised.value) == (
        "RAY_ADDRESS is '10.0.0.1:6379', but no Ray there lets us in; check that it runs, and if it asks for a token, "
        "set RAY_AUTH_MODE=token, and RAY_AUTH_TOKEN_PATH to the file that holds it"
    )


@pytest.mark.parametrize(
    ("variable", "expected"),
    [(None, None), ("", None), ("local", None), ("auto", "auto"), ("10.0.0.1:6379", "10.0.0.1:6379")],
)
def test_which_ray_a_run_uses(monkeypatch: pytest.MonkeyPatch, variable: str | None, expected: str | None) -> None:
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    if variable is not None:
        monkeypatch.setenv("RAY_ADDRESS", variable)
    assert named_address() == expected


class Slow:
    """Ray's node, too late so many times."""

    def __init__(self, times: int, error: str = "The current node timed out during startup. This could ...") -> None:
        self.left = times
        self.calls = 0
        self.error = error

    def __call__(self) -> None:
        self.calls += 1
        self.left -= 1
        if self.left >= 0:
            raise Exception(self.error)


@pytest.mark.parametrize("times", [0, 1, 2])
def test_a_node_that_is_late_is_started_again(times: int) -> None:
    slow = Slow(times)
    start_patiently(slow)
    assert slow.calls == times + 1


def test_one_that_is_always_late_is_given_up() -> None:
    slow = Slow(10)
    with pytest.raises(UserError, match="Ray did not start, 3 times, in the 30 seconds that it has"):
        start_patiently(slow)
    assert slow.calls == 3


def test_no_other_error_is_tried_again() -> None:
    slow = Slow(10, "no space left on device")
    with pytest.raises(Exception, match="no space left"):
        start_patiently(slow)
    assert slow.calls == 1


@pytest.mark.parametrize("name", ["ray.train", "ray.data", "ray.data._internal.progress"])
def test_ray_says_errors_alone_unless_it_is_asked_for_more(name: str, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG, "ray"), caplog.at_level(logging.WARNING, "ray.data"):
        with quiet(verbose=False):
            assert logging.getLogger(name).getEffectiveLevel() == logging.ERROR
        with quiet(verbose=True):
            assert logging.getLogger(name).getEffectiveLevel() == logging.INFO
        assert logging.getLogger("ray").level == logging.DEBUG, "what the user had set"
        assert logging.getLogger("ray.data").level == logging.WARNING


@pytest.mark.parametrize("before", [signal.default_int_handler, signal.SIG_IGN, None])
def test_ctrl_c_means_afterwards_what_it_meant_before(before: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """None is what Python says of a handler that is not its own: of a program that Python is embedded in."""
    found = signal.getsignal(signal.SIGINT)
    try:
        with monkeypatch.context() as patch:
            patch.setattr(signal, "getsignal", lambda number: before)
            with ctrl_c_is_ours():
                signal.signal(signal.SIGINT, lambda *_: None)  # Ray Train's
        assert signal.getsignal(signal.SIGINT) == (before or signal.default_int_handler)
    finally:
        signal.signal(signal.SIGINT, found)


def test_in_a_thread_ctrl_c_is_left_alone() -> None:
    found = signal.getsignal(signal.SIGINT)

    def run() -> None:
        with ctrl_c_is_ours():
            pass

    thread = threading.Thread(target=run)
    thread.start()
    thread.join(30)
    assert signal.getsignal(signal.SIGINT) is found


def test_who_ends_a_process_ends_it() -> None:
    """A handler of the user's may, of any signal; that is no Ctrl-C."""
    with pytest.raises(SystemExit) as raised, ctrl_c_is_ours():
        raise SystemExit(3)
    assert raised.value.code == 3


def test_ctrl_c_while_ray_train_goes_on_is_a_keyboard_interrupt(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ray Train's own handler ends the process when it has stopped the run."""

    def registers(self: object, controller: object) -> None:
        signal.signal(signal.SIGINT, lambda *_: sys.exit(0))

    monkeypatch.setattr(TorchTrainer, "_register_sigint_handler", registers)
    trainer, told = StoppableTrainer.__new__(StoppableTrainer), []
    trainer._then = lambda: told.append(signal.getsignal(signal.SIGINT))
    found = signal.getsignal(signal.SIGINT)
    with ctrl_c_is_ours():
        trainer._register_sigint_handler(None)
        assert told == [signal.getsignal(signal.SIGINT)], "what is there then"
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) is found
