"""Of Ray itself."""

from __future__ import annotations

import json
import os
from typing import Any

import ray
from ray._common.utils import get_default_system_temp_dir
from ray._private import ray_constants
from ray._private.runtime_env.constants import RAY_JOB_CONFIG_JSON_ENV_VAR

from ray_mentor.on_ray.session.shared import Shared

TEMPORARY = "RAY_TMPDIR"
"""The variable that names the folder in which Ray makes its own."""

LONGEST_SOCKET = len("/session_2026-01-01_00-00-00_000000_4194304/sockets/dash_MetricsHead")
"""Bytes that the path of Ray's socket with the longest name has, from the folder that Ray was given on."""

_TOO_SLOW = "timed out during startup"


def temporary_folder() -> str:
    """Where Ray makes its folder, if it is not told."""
    return str(get_default_system_temp_dir())


def placed_in(folder: str) -> dict[str, Any]:
    """The argument of ``ray.init`` by which a Ray that it starts keeps all its files in ``folder``.

    Ray lets all users write to it, even if it was there before: nobody else may get as far as that.
    """
    return {"_temp_dir": folder}


def started_too_slowly(error: Exception) -> bool:
    """Whether Ray's node was not there in time; Ray has no kind of error of its own for it."""
    return _TOO_SLOW in str(error)


def on_loopback(value: str) -> Any:
    """Inside, Ray heeds this value of ``RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER``, which it read when it was imported."""
    return _CONSTANTS.holding({"ENABLE_RAY_CLUSTER": value != "0"})


def _set_constant(name: str, value: Any) -> None:
    setattr(ray_constants, name, value)


_CONSTANTS: Shared[Any] = Shared(lambda name: getattr(ray_constants, name), _set_constant)


def through_client() -> bool:
    """Whether this process talks to Ray by the protocol of ``ray://``, which does not tell everything."""
    return bool(ray.util.client.ray.is_connected())


def jobs_runtime_env() -> dict[str, Any] | None:
    """The runtime env of the job that this process is the driver of; None: it was not submitted as one."""
    job = os.environ.get(RAY_JOB_CONFIG_JSON_ENV_VAR)
    if job is None:
        return None
    return dict(json.loads(job).get("runtime_env") or {})


def is_in_rays_copy(path: str) -> bool:
    """Whether a path lies in what Ray unpacked for a job, and removes when it needs the room."""
    return "/runtime_resources/working_dir_files/" in path
