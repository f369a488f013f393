"""All that we use of Ray without its promise that it stays: the file to look through when Ray's next minor comes.

Private modules and arguments, what is known by the beginning of a name, errors that are told by their English.
``tests/on_ray/session/test_internals.py`` says that no other file does.
"""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from types import MappingProxyType, SimpleNamespace
from typing import Any

import ray
from ray._common.utils import get_default_system_temp_dir
from ray._private import ray_constants
from ray._private.runtime_env.constants import RAY_JOB_CONFIG_JSON_ENV_VAR
from ray.autoscaler.v2.sdk import get_cluster_status
from ray.autoscaler.v2.utils import is_autoscaler_v2
from ray.experimental.internal_kv import _internal_kv_get
from ray.train import PreemptionInfo
from ray.train.torch import TorchTrainer
from ray.train.v2._internal import constants
from ray.train.v2._internal.execution.callback import WorkerCallback, WorkerGroupCallback
from ray.train.v2._internal.execution.context import get_train_context
from ray.train.v2._internal.execution.worker_group import WorkerGroupPollStatus
from ray.train.v2.api import data_parallel_trainer
from ray.tune.experiment import Trial
from ray.tune.schedulers import PopulationBasedTraining

from ray_mentor.on_ray.session.shared import Shared

__all__ = ["WorkerCallback", "WorkerGroupCallback", "WorkerGroupPollStatus"]

BOOKS = constants.CHECKPOINT_MANAGER_SNAPSHOT_FILENAME
"""The file in which Ray Train keeps what was reported to it; one that is there already is taken up."""

TEMPORARY = "RAY_TMPDIR"
"""The variable that names the folder in which Ray makes its own."""

LONGEST_SOCKET = len("/session_2026-01-01_00-00-00_000000_4194304/sockets/dash_MetricsHead")
"""Bytes that the path of Ray's socket with the longest name has, from the folder that Ray was given on."""

_TOO_SLOW = "timed out during startup"
_MADE_UP = "node_"  # the beginning of the type that an autoscaler gives a machine which it has not brought
_FIRST_REPORT = 10.0  # seconds after Ray's start in which its autoscaler has reported; it does so every 5


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


@contextmanager
def controllers_have(variables: Mapping[str, str]) -> Iterator[None]:
    """Controllers of Ray Train that this thread starts inside have these environment variables, as have their workers.

    Train itself hands on what it finds in the environment of this process, which all threads share.
    """
    token = _OF_CONTROLLERS.set({**_OF_CONTROLLERS.get(), **variables})
    try:
        yield
    finally:
        _OF_CONTROLLERS.reset(token)


_OF_CONTROLLERS: ContextVar[Mapping[str, str]] = ContextVar("of controllers", default=MappingProxyType({}))


def _handed_on() -> dict[str, str]:
    return {**constants.get_env_vars_to_propagate(), **_OF_CONTROLLERS.get()}


_trainer: Any = data_parallel_trainer
_trainer.get_env_vars_to_propagate = _handed_on


def machine_types() -> set[str]:
    """The types that autoscalers gave this cluster's machines, those that are on their way among them.

    Ray has an autoscaler that adds nothing on every cluster that has no other, and that one makes up a type for each
    machine; these are not among them.
    """
    types = _types_of_v2() if is_autoscaler_v2() else _types_of_v1()
    return {name for name in types if not name.startswith(_MADE_UP)}


def _types_of_v2() -> set[str]:
    status = get_cluster_status(ray.get_runtime_context().gcs_address)
    return {node.ray_node_type_name for node in (*status.active_nodes, *status.idle_nodes)}


def _types_of_v1() -> set[str]:
    deadline = time.monotonic() + _FIRST_REPORT
    while not (types := _reported_types(_report())) and time.monotonic() < deadline:
        time.sleep(0.2)
    return types


def _report() -> bytes | None:
    found: bytes | None = _internal_kv_get(ray_constants.DEBUG_AUTOSCALING_STATUS)
    return found


def _reported_types(report: bytes | None) -> set[str]:
    """The types of a report's machines; none if there is none yet."""
    summary = json.loads(report or b"{}").get("autoscaler_report", {})
    return set(summary.get("active_nodes", {})) | set(summary.get("pending_launches", {}))


def machines_that_go() -> PreemptionInfo | None:
    """The machines of this run that are about to be taken away, as far as this worker has been told; None: none are.

    ``ray.train.get_preemption_info`` asks rank 0 by way of an actor, which all ranks must do together.
    """
    return get_train_context().preemption_context.preemption_info


class StoppableTrainer(TorchTrainer):
    """Ray Train's trainer, which tells when it has put its handler of Ctrl-C in place: it does so in ``fit``.

    The handler stops the run, and then raises KeyboardInterrupt; Ray's own ends the process with exit code 0.

    Args:
        then: called then, in the main thread; elsewhere Ray puts none in place.
    """

    def __init__(self, *args: Any, then: Callable[[], None] = lambda: None, **arguments: Any) -> None:
        super().__init__(*args, **arguments)
        self._then = then

    def _register_sigint_handler(self, controller: Any) -> None:
        super()._register_sigint_handler(controller)  # type: ignore[misc]
        stop: Any = signal.getsignal(signal.SIGINT)

        def interrupt(number: int, frame: Any) -> None:
            try:
                stop(number, frame)
            except SystemExit:
                raise KeyboardInterrupt from None

        signal.signal(signal.SIGINT, interrupt)
        self._then()


class Population(PopulationBasedTraining):
    """Population based training whose trials may be suggested, and keep one entry of their settings for themselves.

    Ray's refuses any searcher, since the settings that it changes are not those that were suggested; to random draws
    that is all one. Ray's own subclass overrides what the settings of a trial become, too.

    Args:
        own: name of the entry.
    """

    def __init__(self, own: str, **arguments: Any) -> None:
        super().__init__(**arguments)
        self._own = own

    def on_trial_add(self, tune_controller: Any, trial: Any) -> None:
        without_searcher: Any = SimpleNamespace(search_alg=None)
        super().on_trial_add(without_searcher, trial)

    def _get_new_config(self, trial: Any, trial_to_clone: Any) -> tuple[dict[str, Any], dict[str, Any]]:
        config, operations = super()._get_new_config(trial, trial_to_clone)
        return {**config, self._own: trial.config[self._own]}, operations

    def choose_trial_to_run(self, tune_controller: Any) -> Any:
        """The trial that is behind, as Ray's; Ray's chooses none where all wait for one that has ended meanwhile.

        All that wait then meet where they are, and go on.
        """
        live = list(tune_controller.get_live_trials())
        chosen = super().choose_trial_to_run(tune_controller)
        if chosen is not None or not live or any(trial.status != Trial.PAUSED for trial in live):
            return chosen
        states = [self._trial_state[trial] for trial in live]
        self.on_trial_result(tune_controller, live[0], states[0].last_result)  # type: ignore[arg-type]
        furthest = max(state.last_train_time for state in states)
        self._next_perturbation_sync = max(self._next_perturbation_sync, furthest + self._perturbation_interval)
        return super().choose_trial_to_run(tune_controller)
