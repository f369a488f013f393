"""Ray's settings for our processes."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager

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
def having(values: Mapping[str, str]) -> Iterator[None]:
    """These environment variables, inside; afterwards what was there before."""
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, old in before.items():
            if old is None:
                del os.environ[name]
            else:
                os.environ[name] = old


def hangs_end_after(seconds: float) -> AbstractContextManager[None]:
    """Ray Train, started inside, takes a worker that gives no sign of life for so long for dead."""
    return having({"RAY_TRAIN_WORKER_HEALTH_CHECK_TIMEOUT_S": f"{seconds:g}"})
