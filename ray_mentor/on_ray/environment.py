"""Ray's settings for our processes."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

ENVIRONMENT = {
    "RAY_USAGE_STATS_ENABLED": "0",  # no telemetry
    "RAY_TRAIN_HEALTH_CHECK_INTERVAL_S": "0.2",  # a report waits for the controller's poll: 2 s by default
    "RAY_TRAIN_ENABLE_PRINT_PATCH": "0",  # prints show twice
    "RAY_TRAIN_ENABLE_PREEMPTION_WATCHER": "0",
    "RAY_CHDIR_TO_TRIAL_DIR": "0",  # the user's relative paths keep their meaning
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",  # Ray's future default; the present one warns
}
"""Defaults for every process of a run; what is set in the environment already, stays."""


def set_environment() -> None:
    """Applies :data:`ENVIRONMENT`; to be called before Ray is imported."""
    for name, value in ENVIRONMENT.items():
        os.environ.setdefault(name, value)


@contextmanager
def hangs_end_after(seconds: float) -> Iterator[None]:
    """Ray Train, started inside, takes a worker that gives no sign of life for so long for dead."""
    before = os.environ.get(_HANG)
    os.environ[_HANG] = f"{seconds:g}"
    try:
        yield
    finally:
        if before is None:
            del os.environ[_HANG]
        else:
            os.environ[_HANG] = before


_HANG = "RAY_TRAIN_WORKER_HEALTH_CHECK_TIMEOUT_S"
