"""The Ray that a run uses: one that is named or that this process is connected to, or one started for it alone."""

from __future__ import annotations

import functools
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack, contextmanager
from typing import Any

import ray
import torch

from ray_mentor.errors import UserError
from ray_mentor.on_ray.session.environment import quiet, settled
from ray_mentor.on_ray.session.growth import Needs, wait_for_room
from ray_mentor.on_ray.session.internals import of_ray
from ray_mentor.on_ray.session.own_ray import (
    connecting,
    on_this_machine_alone,
    own_ray,
    train_asks_this_ray,
    what_workers_lack,
)


@contextmanager
def ray_session(
    needs: Needs, *, verbose: bool, node_seconds: float = 0.0, tell: Callable[[str], None] | None = None
) -> Iterator[bool]:
    """The Ray that this process is connected to, else the one RAY_ADDRESS names, else one started for this run alone.

    RAY_ADDRESS=auto is the one that runs on this machine. What was started is shut down at the end. Inside it is known
    whether it was: then there is this machine alone, and nothing outlives this process.

    Args:
        needs: what must have a place, so that the run can start.
        verbose: let Ray's own log through.
        node_seconds: how long to wait for machines that the cluster's autoscaler has yet to bring.
        tell: takes a line that says so.

    Raises:
        UserError: if the cluster has no room for what the run needs.
    """
    with (
        settled(),
        quiet(verbose),
        _CONNECTION.held(functools.partial(_connected, needs, verbose)) as is_ours,
        train_asks_this_ray(),
    ):
        waited = wait_for_room(needs, node_seconds, tell or (lambda text: None))
        _check_fits(ray.cluster_resources(), needs, waited)
        yield is_ours and named_address() is None


class _Connection:
    """This package's connection to Ray: made by the first of the runs in threads of this process, ended by the last.

    There is none while the process is connected by itself.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._runs = 0
        self._ended_by = ExitStack()

    @contextmanager
    def held(self, connected: Callable[[], AbstractContextManager[None]]) -> Iterator[bool]:
        """Inside, there is a Ray; ``connected`` makes the connection. Whether there would be none without it."""
        with self._lock:
            ours = self._runs > 0 or not ray.is_initialized()
            if ours and self._runs == 0:
                self._ended_by.enter_context(_lasting(connected()))
            self._runs += ours
        try:
            yield ours
        finally:
            with self._lock:
                self._runs -= ours
                if self._runs == 0:
                    self._ended_by.close()


@contextmanager
def _lasting(connection: AbstractContextManager[None]) -> Iterator[None]:
    """The connection, made and ended by one thread that lasts as long.

    The kernel ends Ray's processes with the thread that started them, and the run that came first may end first.
    """
    if threading.current_thread() is threading.main_thread():
        with connection:
            yield
        return
    with ThreadPoolExecutor(1, "ray") as thread:
        thread.submit(connection.__enter__).result()
        try:
            yield
        finally:
            thread.submit(connection.__exit__, None, None, None).result()


_CONNECTION = _Connection()


@contextmanager
def _connected(needs: Needs, verbose: bool) -> Iterator[None]:
    address = named_address()
    with ExitStack() as stack:
        if address is None:
            check_machine(needs)
            arguments = stack.enter_context(own_ray())
            starting = on_this_machine_alone()
        else:
            arguments = {"address": address, "runtime_env": what_workers_lack()}
            starting = connecting(address)
        init = functools.partial(
            ray.init, configure_logging=verbose, log_to_driver=verbose, dashboard_host="127.0.0.1", **arguments
        )
        before = signal.getsignal(signal.SIGTERM)
        stack.callback(put_back, before, signal.SIGTERM)
        stack.callback(ray.shutdown)
        with starting:
            start_patiently(init)
        _sigterm_is_not_rays(before)
        yield


def _sigterm_is_not_rays(before: Any) -> None:
    """In the place of Ray's handler, which raises SystemExit: the user's own, or one that stops a run as Ctrl-C does.

    Args:
        before: what SIGTERM did before Ray started.
    """
    if threading.current_thread() is threading.main_thread():  # elsewhere Ray puts none in place
        signal.signal(signal.SIGTERM, before if callable(before) or before is signal.SIG_IGN else _stop)


def _stop(*_: object) -> None:
    raise KeyboardInterrupt


def start_patiently(start: Callable[[], object]) -> None:
    """Starts Ray; again where its node was not there in the half minute that Ray gives it, as on a busy machine.

    Raises:
        UserError: it was not there three times.
    """
    for _ in range(_STARTS):
        try:
            start()
            return
        except Exception as error:
            if not of_ray.started_too_slowly(error):
                raise
    raise UserError(
        f"Ray did not start, {_STARTS} times, in the 30 seconds that it has; look at what else this machine does, or "
        "name a Ray that runs with RAY_ADDRESS"
    )


_STARTS = 3


def named_address() -> str | None:
    """What RAY_ADDRESS says, as a job's has it; None: the run gets a Ray of its own."""
    address = os.environ.get("RAY_ADDRESS", "")
    return None if address in ("", "local") else address


def check_lasts(path: str) -> None:
    """Refuses to write where a job's results would go with what was uploaded for it.

    Raises:
        UserError: a folder in Ray's copy of that, as a relative one of a job is.
    """
    if of_ray.is_in_rays_copy(path):
        raise UserError(
            f"{path} lies in Ray's copy of what this job uploaded, which Ray removes; give --storage-path a folder "
            "that all machines see, e.g. /results, or s3://BUCKET/FOLDER"
        )


@contextmanager
def ctrl_c_is_ours() -> Iterator[None]:
    """Ctrl-C stops what runs inside with KeyboardInterrupt, and means afterwards what it meant before.

    Ray Train puts a handler of its own in place
    (:class:`~ray_mentor.on_ray.session.internals.of_trainer.StoppableTrainer`), which stays when the run has ended,
    with a handle in it that keeps the run's actors alive.
    """
    before = signal.getsignal(signal.SIGINT)
    try:
        yield
    finally:
        put_back(before)


def put_back(handler: Any, number: signal.Signals = signal.SIGINT) -> None:
    """Gives Ctrl-C, or another signal, the meaning that it had; Python's own, where what embeds Python had its handler.

    Python does not tell of that one, and Ray has replaced it. In the main thread; elsewhere nothing was changed.
    """
    if threading.current_thread() is threading.main_thread():
        pythons = signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL
        signal.signal(number, pythons if handler is None else handler)


@contextmanager
def alone_in_process() -> Iterator[None]:
    """For a run that trains in this process.

    Raises:
        UserError: another does, in another thread; PyTorch's random numbers and Ray Train's context are one for both.
    """
    if not _TRAINS_HERE.acquire(blocking=False):
        raise UserError(
            "workers is 0, which trains in this process, but another run trains in it already; wait until that has "
            "ended, give 1 worker or more, or start a process for each"
        )
    try:
        yield
    finally:
        _TRAINS_HERE.release()


_TRAINS_HERE = threading.Lock()


def cores_here() -> int:
    """CPUs that this process may use."""
    return len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1


def check_machine(needs: Needs) -> None:
    """Refuses, before Ray starts, what this machine cannot place."""
    _check_fits({"CPU": float(cores_here()), "GPU": float(torch.cuda.device_count())}, needs)


def _check_fits(there: Mapping[str, float], needs: Needs, waited: float = 0.0) -> None:
    for name, wanted in needs.lacking(there).items():
        none = name == "GPU" and not there.get(name)  # then fewer workers are no help
        raise UserError(
            f"the workers need {wanted:g} {name}s, but there are {there.get(name, 0.0):g}; give "
            + ("--no-gpu" if none else "fewer --workers" + (", or --no-gpu" if name == "GPU" else ""))
            + (_other_accelerator() if none else "")
            + (f"; the autoscaler brought no more in {waited:.0f} s (`ray status` says why)" if waited else "")
        )


def _other_accelerator() -> str:
    """What is said of one that is no GPU of CUDA's, as Apple's mps and Intel's xpu; empty where there is none."""
    found = torch.accelerator.current_accelerator(check_available=True)
    return (
        ""
        if found is None or found.type == "cuda"
        else f" (there is {found.type}, but runs train on CUDA's GPUs alone)"
    )
