"""The Ray that a run gets: our own, which nobody else can reach or read the token of, or one that lets us in."""

from __future__ import annotations

import os
import secrets
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import ray
from ray._private import ray_constants
from ray.exceptions import AuthenticationError
from ray.train.v2._internal import constants

from ray_mentor.errors import UserError
from ray_mentor.on_ray.session.environment import having

LOOPBACK = {
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",  # all of Ray listens on 127.0.0.1, as it does on macOS anyway
    "GLOO_SOCKET_IFNAME": "lo0" if sys.platform == "darwin" else "lo",  # by default that of the host's name
}
"""Set while Ray starts; what is set in the environment already, stays."""


@contextmanager
def own_ray() -> Iterator[None]:
    """Inside, ``ray.init(address="local")`` starts such a Ray.

    By default Ray listens on all interfaces, dashboard aside. It asks whoever connects for a token, but writes that for
    all users of the machine to read.
    """
    keep_token_private()
    clusters = ray_constants.ENABLE_RAY_CLUSTER
    with having({name: os.environ.get(name, value) for name, value in LOOPBACK.items()}):
        # Ray has read the variable when it was imported, maybe before us.
        ray_constants.ENABLE_RAY_CLUSTER = os.environ["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] != "0"
        try:
            yield
        finally:
            ray_constants.ENABLE_RAY_CLUSTER = clusters


@contextmanager
def train_asks_this_ray() -> Iterator[None]:
    """Inside, Ray Train asks the Ray that this process is connected to whether a run's controller is alive.

    By default it asks the one that ``ray start`` was called for last, which may be another. That one knows of no such
    controller, and Train, which takes it for dead, gives its workers' places back.
    """
    if ray.util.client.ray.is_connected():
        yield
        return
    constants.ENV_VARS_TO_PROPAGATE.add(_ADDRESS)
    with having({_ADDRESS: ray.get_runtime_context().gcs_address}):
        yield


_ADDRESS = "RAY_ADDRESS"


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


def keep_token_private() -> None:
    """Makes the token file that Ray would make, or takes from an existing one what others may do with it."""
    if os.environ.get("RAY_AUTH_TOKEN") or os.environ.get("RAY_AUTH_MODE", "token").lower() != "token":
        return
    named = os.environ.get("RAY_AUTH_TOKEN_PATH")
    path = Path(named) if named else Path.home() / ".ray" / "auth_token"
    with suppress(OSError):  # a home that can't be written to: Ray will say so, if it needs it
        if path.exists():
            path.chmod(path.stat().st_mode & 0o700)
        elif named is None:
            path.parent.mkdir(parents=True, exist_ok=True)
            with open(path, "x", opener=lambda name, flags: os.open(name, flags, 0o600)) as file:
                file.write(secrets.token_hex(32))
