"""What becomes of a run when one of its processes fails: it starts again from its newest checkpoint, or it ends."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import ray.train
from ray.actor import ActorHandle
from ray.exceptions import RayTaskError
from ray.train import PreemptionInfo

from ray_mentor.errors import UserError
from ray_mentor.on_ray.session.internals.of_train import WorkerGroupCallback, WorkerGroupPollStatus
from ray_mentor.run.checkpoint.checkpoints import checkpoint_names, newest_good
from ray_mentor.run.directory import RunDirectory
from ray_mentor.run.progress import ProgressBoard


class FailedTooOftenError(Exception):
    """Workers have failed too often in a row.

    Attributes:
        worker_failures: their last errors, by rank.
    """

    def __init__(self, text: str, worker_failures: dict[int, Exception]) -> None:
        super().__init__(text, worker_failures)
        self.worker_failures = worker_failures

    def __str__(self) -> str:
        return str(self.args[0])


class Failures(WorkerGroupCallback):
    """Asked by Ray Train's controller after each look at the workers, before it starts failed ones again.

    What starting again would not mend ends the run: an error raised here is one that Train does not retry. Train itself
    counts a run's failures from its beginning, so it is told to start workers again for ever, and these are counted
    here: those since the newest checkpoint came. A machine that is taken away is no failure.

    Args:
        most: failures in a row after which the workers are started again; -1: however many.
    """

    def __init__(self, board: ActorHandle[ProgressBoard], directory: RunDirectory, most: int) -> None:
        self._board = board
        self._directory = directory
        self._most = most
        self._in_a_row = 0
        self._newest = ""
        self._is_known = False
        self._told: set[str] = set()

    def after_worker_group_start(self, worker_group: Any) -> None:
        """What these workers will fail by is something else."""
        self._is_known = False

    def after_worker_group_poll_status(self, worker_group_status: WorkerGroupPollStatus) -> None:
        """Raises the user's error among the workers' errors, if there is one; says what happened otherwise."""
        errors = worker_group_status.errors
        error = users_error(errors.values())
        if error is not None:
            raise error
        going = worker_group_status.get_preemption_info()
        if going is not None:
            self._tell_of(going)
        if not errors or self._is_known:
            return
        self._is_known = True  # it is seen again at each look until the workers are gone
        failed = "; ".join(f"worker {rank}: {_brief(error)}" for rank, error in sorted(errors.items()))
        if going is None and not worker_group_status.has_preempted_worker():
            self._count(failed, errors)
        self._note(f"failed: {failed}; all workers start again from the newest checkpoint")

    def _count(self, failed: str, errors: dict[int, Exception]) -> None:
        newest = next(iter(checkpoint_names(self._directory)), "")
        self._in_a_row = self._in_a_row + 1 if newest == self._newest else 1
        self._newest = newest
        if 0 <= self._most < self._in_a_row:
            raise FailedTooOftenError(
                f"{failed}; that was failure {self._in_a_row} since the newest checkpoint came, and max_failures is "
                f"{self._most}",
                errors,
            )

    def _tell_of(self, going: PreemptionInfo) -> None:
        new = set(going.preempted_node_ids) - self._told
        if new:
            self._told |= new
            ranks = ", ".join(map(str, going.preempted_ranks))
            self._note(
                f"the machine of worker {ranks} is about to be taken away: checkpoints follow each other until then, "
                "and all workers start again without it"
            )

    def _note(self, text: str) -> None:
        self._board.post.remote({"kind": "note", "text": text})


def users_error(errors: Iterable[BaseException | None]) -> UserError | None:
    """The first :class:`UserError` among these errors and what caused them."""
    seen = set[int]()
    for error in errors:
        cause = error
        while cause is not None and id(cause) not in seen:
            if isinstance(cause, UserError):
                return cause
            seen.add(id(cause))
            cause = _inside(cause) or cause.__cause__
    return None


def _inside(error: BaseException) -> BaseException | None:
    """The error that Ray put another around; what errors of others call their cause may be anything."""
    inside = None
    if isinstance(error, RayTaskError):
        inside = error.cause
    elif isinstance(error, ray.train.ControllerError):
        inside = error.controller_failure
    return inside if isinstance(inside, BaseException) else None


def causes(error: BaseException) -> list[BaseException | None]:
    """A failed run's error and those of its workers."""
    return [*getattr(error, "worker_failures", {}).values(), error]


def as_ray_says(error: BaseException) -> BaseException:
    """The error of a run whose workers failed too often as Ray Train would have raised it, had it counted."""
    cause = getattr(error, "controller_failure", None)
    if not isinstance(cause, FailedTooOftenError):
        return error
    return ray.train.WorkerGroupError(str(cause), cause.worker_failures)


def how_to_go_on(directory: RunDirectory) -> str:
    """What was saved of a run that ended early, and what to do about it."""
    try:
        return f"{what_is_saved(directory)}; go on with --resume"
    except UserError as error:
        return error.written


def what_is_saved(directory: RunDirectory) -> str:
    """Of a run that ended early.

    Raises:
        UserError: it has checkpoints, but none that can be read.
    """
    found = newest_good(directory, lambda text: None)
    if found is None:
        return f"the run {directory.path} had no checkpoint yet"
    return f"saved: {found.path}, step {found.state.curriculum.step}"


def _brief(error: BaseException) -> str:
    """An error's kind, and the line that says most."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {lines[-1]}" if lines else type(error).__name__
