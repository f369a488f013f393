"""What becomes of a run when one of its processes fails: it starts again from its newest checkpoint, or it ends."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from ray.actor import ActorHandle
from ray.train import UserCallback

from ray_mentor.errors import UserError
from ray_mentor.run.checkpoint.checkpoints import newest_good
from ray_mentor.run.directory import RunDirectory
from ray_mentor.run.progress import ProgressBoard


class Failures(UserCallback):
    """Asked by Ray Train when workers have failed, before it starts them again.

    What starting again would not mend ends the run: an error raised here is one that Train does not retry.
    """

    def __init__(self, board: ActorHandle[ProgressBoard]) -> None:
        self._board = board

    def after_exception(self, run_context: Any, worker_exceptions: dict[int, Exception]) -> None:
        """Raises the user's error among the workers' errors, if there is one; says what happened otherwise."""
        error = users_error(worker_exceptions.values())
        if error is not None:
            raise error
        failed = "; ".join(f"worker {rank}: {_brief(error)}" for rank, error in sorted(worker_exceptions.items()))
        self._board.post.remote(
            {"kind": "note", "text": f"failed: {failed}; all workers start again from the newest checkpoint"}
        )


def users_error(errors: Iterable[BaseException | None]) -> UserError | None:
    """The first :class:`UserError` among these errors and what caused them."""
    for cause in errors:
        while cause is not None:
            if isinstance(cause, UserError):
                return cause
            cause = getattr(cause, "cause", None) or getattr(cause, "controller_failure", None) or cause.__cause__
    return None


def causes(error: BaseException) -> list[BaseException | None]:
    """A failed run's error and those of its workers."""
    return [*getattr(error, "worker_failures", {}).values(), error]


def how_to_go_on(directory: RunDirectory) -> str:
    """What was saved of a run that ended early, and what to do about it."""
    try:
        found = newest_good(directory, lambda text: None)
    except UserError as error:
        return str(error)
    if found is None:
        return f"the run {directory.path} had no checkpoint yet; start it again with --resume"
    return f"saved: {found.path}, step {found.state.curriculum.step}; go on with --resume"


def _brief(error: BaseException) -> str:
    """An error's kind, and the line that says most."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {lines[-1]}" if lines else type(error).__name__
