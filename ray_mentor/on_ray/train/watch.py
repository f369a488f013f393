"""Shows a run's progress rows to a callable while the run goes on."""

from __future__ import annotations

import threading
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import ray
import ray.exceptions
from ray.actor import ActorHandle
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from ray_mentor.on_ray.train.run_board import RunBoard
from ray_mentor.run.progress import ProgressBoard, Row

_EVERY = 0.2  # seconds between two looks


def board_here(run: str) -> Any:
    """A board for the run of this name, on this process's own node.

    On another one, it would die with that node, and the run go on unseen.
    """
    here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
    return ray.remote(RunBoard).options(num_cpus=0, scheduling_strategy=here).remote(run)


class LocalBoard:
    """A board in this process, that shows its rows at once."""

    def __init__(self, show: Callable[[Row], None]) -> None:
        self._show = show

    def post(self, row: Row) -> None:
        self._show(row)


class RemoteBoard:
    """A board that is an actor, as the workers post to it."""

    def __init__(self, board: ActorHandle[RunBoard]) -> None:
        self._board = board

    def post(self, row: Row) -> None:
        self._board.post.remote(row)

    def is_wished(self) -> bool:
        """Whether the driver wants a checkpoint; waits for the answer, about a millisecond."""
        try:
            return bool(ray.get(self._board.is_wished.remote()))
        except ray.exceptions.RayActorError:  # nor does it because nobody can stop it
            return False

    def fulfil(self) -> None:
        """The checkpoint that it wants is written."""
        self._board.fulfil.remote()


@contextmanager
def watched(board: ActorHandle[ProgressBoard], show: Callable[[Row], None]) -> Iterator[None]:
    """Calls ``show`` with each row, in order, from a thread of its own; with all of them by the end.

    Raises:
        Exception: of ``show``, which is told at once and not called again; when the run has ended.
    """
    done = threading.Event()
    seen, lost = 0, False
    failed: Exception | None = None

    def look() -> None:
        nonlocal seen, lost
        if lost:
            return
        try:
            answer: Any = board.read.remote(seen)
            posted, rows = ray.get(answer)
        except ray.exceptions.RayActorError:  # a run does not end because nobody can watch it
            lost = True
            show({"kind": "note", "text": _LOST})
            return
        if missed := posted - seen - len(rows):
            show({"kind": "note", "text": f"{missed} rows of progress were not shown in time, and are left out"})
        seen = posted
        for row in rows:
            show(row)

    def keep_looking() -> None:
        nonlocal failed
        while failed is None and not done.wait(_EVERY):
            try:
                look()
            except Exception as error:
                traceback.print_exception(error)
                failed = error

    watcher = threading.Thread(target=keep_looking, name="progress", daemon=True)
    watcher.start()
    try:
        yield
        look_again = True
    except BaseException:
        look_again = False
        raise
    finally:
        done.set()
        watcher.join()
        if look_again and failed is not None:
            raise failed
        if look_again:
            look()


_LOST = (
    "warning: the actor that takes down the progress has died; the run goes on, but from here on its folder alone "
    "tells of it"
)


@contextmanager
def ended_with_its_run(actor: Any) -> Iterator[Any]:
    """Ends an actor with its run: a handle may live on, e.g. in the traceback of the run's error."""
    try:
        yield actor
    finally:
        if actor is not None:
            ray.kill(actor)
