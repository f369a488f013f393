"""Ray's settings for our processes, and the environment variables and logs that they are told by."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from types import MappingProxyType

from ray_mentor.on_ray.session.internals.of_trainer import controllers_have
from ray_mentor.on_ray.session.shared import Shared

ENVIRONMENT = MappingProxyType(
    {
        "RAY_USAGE_STATS_ENABLED": "0",  # no telemetry
        "RAY_CHDIR_TO_TRIAL_DIR": "0",  # the user's relative paths keep their meaning
    }
)
"""Of this process while it uses Ray, and of a run's; what is set in this one's environment already, stays."""

OF_TRAIN = MappingProxyType(
    {
        "RAY_TRAIN_HEALTH_CHECK_INTERVAL_S": "0.2",  # a report waits for the controller's poll: 2 s by default
        "RAY_TRAIN_ENABLE_PRINT_PATCH": "0",  # prints show twice
    }
)
"""Of a run's controller and workers alone; what is set in this process's environment already, stays."""


def having(values: Mapping[str, str | None]) -> AbstractContextManager[None]:
    """These environment variables, inside; None: none. What was there before, when all who want them have left."""
    return _VARIABLES.holding(values)


def or_as_it_is(defaults: Mapping[str, str]) -> dict[str, str]:
    """These variables, with the environment's value where it has one."""
    return {name: os.environ.get(name, value) for name, value in defaults.items()}


def settled() -> AbstractContextManager[None]:
    """Inside, this process has :data:`ENVIRONMENT`."""
    return having(or_as_it_is(ENVIRONMENT))


def nobody_takes_machines() -> AbstractContextManager[None]:
    """Runs that this thread starts inside have no process that looks out for machines which are about to go."""
    return controllers_have(or_as_it_is({"RAY_TRAIN_ENABLE_PREEMPTION_WATCHER": "0"}))


def hangs_end_after(seconds: float) -> AbstractContextManager[None]:
    """Runs that this thread starts inside take a worker that gives no sign of life for so long for dead."""
    return controllers_have({"RAY_TRAIN_WORKER_HEALTH_CHECK_TIMEOUT_S": f"{seconds:g}"})


def trains_metrics_of(run: str) -> AbstractContextManager[None]:
    """Inside, Ray Train tells its metrics of a run of this name, unless that would end it: they take ASCII alone."""
    return nullcontext() if run.isascii() else having({"RAY_TRAIN_METRICS_ENABLED": "0"})


def quiet(verbose: bool) -> AbstractContextManager[None]:
    """Inside, Ray's own log is let through, or its errors alone."""
    level = logging.INFO if verbose else logging.ERROR
    return _LEVELS.holding(dict.fromkeys(("ray", "ray.data"), level))  # Ray Data gives its own a level


def unheard(*names: str) -> AbstractContextManager[None]:
    """Inside, loggers of these names say nothing."""
    return _LEVELS.holding(dict.fromkeys(names, logging.CRITICAL + 1))


def _set_variable(name: str, value: str | None) -> None:
    if value is None:
        os.environ.pop(name, None)
    else:
        os.environ[name] = value


def _set_level(name: str, level: int) -> None:
    logging.getLogger(name).setLevel(level)


_VARIABLES: Shared[str | None] = Shared(os.environ.get, _set_variable)
_LEVELS: Shared[int] = Shared(lambda name: logging.getLogger(name).level, _set_level)
