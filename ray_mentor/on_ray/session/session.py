"""The Ray that a run uses: one that is named or that this process is connected to, or one started for it alone."""

from __future__ import annotations

import functools
import logging
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext

import ray
import torch

from ray_mentor.errors import UserError
from ray_mentor.on_ray.session.environment import ENVIRONMENT
from ray_mentor.on_ray.session.growth import Needs, wait_for_room
from ray_mentor.on_ray.session.own_ray import connecting, own_ray, train_asks_this_ray


@contextmanager
def ray_session(
    needs: Needs, *, verbose: bool, node_seconds: float = 0.0, tell: Callable[[str], None] | None = None
) -> Iterator[None]:
    """The Ray that this process is connected to, else the one RAY_ADDRESS names, else one started for this run alone.

    RAY_ADDRESS=auto is the one that runs on this machine. What was started is shut down at the end.

    Args:
        needs: what must have a place, so that the run can start.
        verbose: let Ray's own log through.
        node_seconds: how long to wait for machines that the cluster's autoscaler has yet to bring.
        tell: takes a line that says so.

    Raises:
        UserError: if the cluster has no room for what the run needs.
    """
    with nullcontext() if ray.is_initialized() else _connected(needs, verbose), train_asks_this_ray():
        waited = wait_for_room(needs, node_seconds, tell or (lambda text: None))
        _check_fits(ray.cluster_resources(), needs, waited)
        yield


@contextmanager
def _connected(needs: Needs, verbose: bool) -> Iterator[None]:
    quiet(verbose)
    address = named_address()
    if address is None:
        check_machine(needs)
    with own_ray() if address is None else connecting(address):
        start_patiently(
            functools.partial(
                ray.init,
                address=address or "local",
                configure_logging=verbose,
                log_to_driver=verbose,
                runtime_env={"env_vars": ENVIRONMENT} if address else None,
                include_dashboard=None if address else True,
                dashboard_host="127.0.0.1",
            )
        )
    try:
        yield
    finally:
        ray.shutdown()


def start_patiently(start: Callable[[], object]) -> None:
    """Starts Ray; again where its node was not there in the half minute that Ray gives it, as on a busy machine.

    Raises:
        UserError: it was not there three times.
    """
    for _ in range(_STARTS):
        try:
            start()
            return
        except Exception as error:  # Ray has no kind of its own for it
            if _TOO_SLOW not in str(error):
                raise
    raise UserError(
        f"Ray did not start, {_STARTS} times, in the 30 seconds that it has; look at what else this machine does, or "
        "name a Ray that runs with RAY_ADDRESS"
    )


_STARTS = 3
_TOO_SLOW = "timed out during startup"


def named_address() -> str | None:
    """What RAY_ADDRESS says, as a job's has it; None: the run gets a Ray of its own."""
    address = os.environ.get("RAY_ADDRESS", "")
    return None if address in ("", "local") else address


@contextmanager
def ctrl_c_is_ours() -> Iterator[None]:
    """Ctrl-C stops what runs inside with KeyboardInterrupt, and means afterwards what it meant before.

    Ray Train puts a handler of its own in place: it stops the run and ends the process with exit code 0, and it
    stays when the run has ended, with a handle in it that keeps the run's actors alive.
    """
    before = signal.getsignal(signal.SIGINT)
    try:
        yield
    except SystemExit:
        raise KeyboardInterrupt from None
    finally:
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGINT, before)


def quiet(verbose: bool) -> None:
    """Lets Ray's own log through, or its errors alone."""
    for name in ("ray", "ray.data"):  # Ray Data gives its own a level when it is imported
        logging.getLogger(name).setLevel(logging.INFO if verbose else logging.ERROR)


def check_machine(needs: Needs) -> None:
    """Refuses, before Ray starts, what this machine cannot place."""
    cores = len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1
    _check_fits({"CPU": float(cores), "GPU": float(torch.cuda.device_count())}, needs)


def _check_fits(there: Mapping[str, float], needs: Needs, waited: float = 0.0) -> None:
    for name, wanted in needs.lacking(there).items():
        raise UserError(
            f"the workers need {wanted:g} {name}s, but there are {there.get(name, 0.0):g}; give fewer --workers"
            + (", or --no-gpu" if name == "GPU" else "")
            + (f"; the autoscaler brought no more in {waited:.0f} s (`ray status` says why)" if waited else "")
        )
