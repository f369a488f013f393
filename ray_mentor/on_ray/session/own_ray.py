"""The Ray that a run gets: our own, which nobody else can reach or read the token of, or one that lets us in."""

from __future__ import annotations

import os
import secrets
import stat
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import MappingProxyType
from typing import Any

import ray
from ray.exceptions import AuthenticationError

from ray_mentor.errors import UserError
from ray_mentor.on_ray.session.environment import ENVIRONMENT, OF_TRAIN, having, or_as_it_is
from ray_mentor.on_ray.session.folder import private_folder
from ray_mentor.on_ray.session.internals import of_ray
from ray_mentor.on_ray.session.internals.of_trainer import controllers_have

LOOPBACK = MappingProxyType(
    {
        "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",  # all of Ray listens on 127.0.0.1, as it does on macOS anyway
        "GLOO_SOCKET_IFNAME": "lo0" if sys.platform == "darwin" else "lo",  # by default that of the host's name
    }
)
"""Set while Ray starts; what is set in the environment already, stays."""

_LEFT_BEHIND = ("RAY_AUTH_MODE", "RAY_USAGE_STATS_ENABLED")
"""What Ray sets when it starts, for this process and its children."""


@contextmanager
def own_ray() -> Iterator[dict[str, Any]]:
    """Arguments by which ``ray.init`` starts a Ray whose token and files no other user can get at.

    That Ray must have ended when this does. By default it asks whoever connects for a token, but writes that for all
    users of the machine to read, and lets all of them write to its folder.
    """
    keep_token_private()
    before = {name: os.environ.get(name) for name in _LEFT_BEHIND}
    with private_folder(of_ray.temporary_folder()) as folder, having(before):
        yield {"address": "local", "include_dashboard": True, **of_ray.placed_in(folder)}


@contextmanager
def on_this_machine_alone() -> Iterator[None]:
    """A Ray that starts inside listens on 127.0.0.1; by default it would on all interfaces, dashboard aside."""
    variables = or_as_it_is(LOOPBACK)
    with having(variables), of_ray.on_loopback(variables["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"]):
        yield


@contextmanager
def train_asks_this_ray() -> Iterator[None]:
    """Inside, runs of Ray Train ask the Ray that this process is connected to whether their controller is alive.

    By default they ask the one that ``ray start`` was called for last, which may be another. That one knows of no such
    controller, and Train, which takes it for dead, gives its workers' places back.
    """
    variables = or_as_it_is(OF_TRAIN)
    if not of_ray.through_client():
        variables["RAY_ADDRESS"] = ray.get_runtime_context().gcs_address
    with controllers_have(variables):
        yield


@contextmanager
def connecting(address: str) -> Iterator[None]:
    """Inside, ``ray.init()`` connects to ``address``.

    Raises:
        UserError: nobody answers there, or not to us; Ray does not tell which it is.
    """
    try:
        yield
    except (ConnectionError, AuthenticationError) as error:
        raise UserError(
            f"RAY_ADDRESS is {address!r}, but no Ray there lets us in; check that it runs, and if it asks for a token, "
            "set RAY_AUTH_MODE=token, and RAY_AUTH_TOKEN_PATH to the file that holds it"
        ) from error


def what_workers_lack() -> dict[str, Any]:
    """The runtime env of a run on a Ray that is there already.

    Our variables, with the values that they have here, but for those that the job sets which this process is the driver
    of: Ray refuses what is said twice. And this package, where this process is no job, which would have brought it.
    """
    job = of_ray.jobs_runtime_env()
    theirs = (job or {}).get("env_vars") or {}
    lacking = {name: value for name, value in or_as_it_is(ENVIRONMENT).items() if name not in theirs}
    package = {"py_modules": [str(_PACKAGE)]} if job is None and _PACKAGE.is_dir() else {}
    return {"env_vars": lacking, **package}


_PACKAGE = Path(__file__).parents[2]


def keep_token_private() -> None:
    """Makes the token file that Ray would make, or takes from an existing one what others may do with it.

    From one that is named by RAY_AUTH_TOKEN_PATH only what all users may do: a group may share it on purpose.
    """
    if os.environ.get("RAY_AUTH_TOKEN") or os.environ.get("RAY_AUTH_MODE", "token").lower() != "token":
        return
    named = os.environ.get("RAY_AUTH_TOKEN_PATH")
    path = Path(named) if named else Path.home() / ".ray" / "auth_token"
    with suppress(OSError):  # a home that can't be written to: Ray will say so, if it needs it
        if path.exists():
            mode = stat.S_IMODE(path.stat().st_mode)
            closed = mode & (0o770 if named else 0o700)
            if mode != closed:
                path.chmod(closed)
        elif named is None:
            path.parent.mkdir(parents=True, exist_ok=True)
            _make_token(path)


def _make_token(path: Path) -> None:
    """The file has its whole content once it has its name; where another process was first, it is that one's."""
    unnamed = path.with_name(f"{path.name}.{secrets.token_hex(8)}")
    try:
        with open(unnamed, "x", opener=lambda name, flags: os.open(name, flags, 0o600)) as file:
            file.write(secrets.token_hex(32))
        try:
            os.link(unnamed, path)
        except FileExistsError:
            pass
        except OSError:  # a home without hard links, in which two first runs within microseconds may both be the first
            if not path.exists():
                unnamed.rename(path)
    finally:
        unnamed.unlink(missing_ok=True)
