"""Of Ray Train, as the process has it that calls ``fit``."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from types import MappingProxyType
from typing import Any

from ray.train.torch import TorchTrainer
from ray.train.v2._internal import constants
from ray.train.v2._internal.callbacks import DatasetsCallback
from ray.train.v2._internal.callbacks.placement_group_callback import PlacementGroupCleanerCallback
from ray.train.v2._internal.execution.scaling_policy import FixedScalingPolicy
from ray.train.v2.api import data_parallel_trainer


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


class _DataContextAlone(DatasetsCallback):
    """Hands the workers this process's DataContext, without an actor for data sets of Ray Data's: there are none."""

    def before_init_train_context(self, workers: Any) -> Any:
        return {}


class _NobodyToAsk(FixedScalingPolicy):
    """Asks no autoscaler for the workers' machines, which is asked by way of an actor: there is this machine alone."""

    def after_controller_start(self, train_run_context: Any) -> None:
        pass

    def _maybe_send_resource_request(self) -> None:
        pass


class StoppableTrainer(TorchTrainer):
    """Ray Train's trainer, which tells when it has put its handler of Ctrl-C in place: it does so in ``fit``.

    The handler stops the run, and then raises KeyboardInterrupt; Ray's own ends the process with exit code 0.

    It starts none of Train's processes that would have nothing to do: each costs seconds, which the workers wait for.

    Args:
        then: called then, in the main thread; elsewhere Ray puts none in place.
        alone: the Ray was started for this run, on this machine, and ends with it.
    """

    def __init__(
        self, *args: Any, then: Callable[[], None] = lambda: None, alone: bool = False, **arguments: Any
    ) -> None:
        super().__init__(*args, **arguments)
        self._then = then
        self._alone = alone

    def _initialize_and_run_controller(self, **parts: Any) -> Any:
        rays: Any = self  # whose annotations don't know of it
        in_place: dict[type, list[Any]] = {DatasetsCallback: [_DataContextAlone(rays.train_run_context, {})]}
        if self._alone:
            in_place[PlacementGroupCleanerCallback] = []  # whose controller has died ends with its Ray
        parts["callbacks"] = [put for each in parts["callbacks"] for put in in_place.get(type(each), [each])]
        if self._alone and type(parts["scaling_policy"]) is FixedScalingPolicy:
            parts["scaling_policy"] = _NobodyToAsk(rays.scaling_config)
        return super()._initialize_and_run_controller(**parts)  # type: ignore[misc]

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
