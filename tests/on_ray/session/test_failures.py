"""Which failures end a run: what its controller is told, without a Ray."""

from __future__ import annotations

import pickle
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import ray.train
from ray.exceptions import ActorDiedError, RayTaskError
from ray.train import PreemptionInfo

from ray_mentor.config import RunSettings
from ray_mentor.errors import UserError
from ray_mentor.on_ray.session.failures import FailedTooOftenError, Failures, as_ray_says, causes, users_error
from ray_mentor.run.checkpoint.checkpoints import name_of
from ray_mentor.run.directory import CHECKPOINTS, RunDirectory


class Notes:
    """A board, of which only what is written on it is known."""

    def __init__(self) -> None:
        self.texts: list[str] = []
        self.post = SimpleNamespace(remote=lambda row: self.texts.append(row["text"]))


class Workers:
    """What a controller sees of the workers that it starts again and again."""

    def __init__(self, folder: Path, most: int) -> None:
        self.directory = RunDirectory(str(folder))
        self.directory.create()
        self.notes = Notes()
        board: Any = self.notes
        self.failures = Failures(board, self.directory, most)

    def start(self) -> None:
        self.failures.after_worker_group_start(None)

    def look(self, *errors: Exception, going: PreemptionInfo | None = None, taken: bool = False) -> None:
        status: Any = SimpleNamespace(
            errors=dict(enumerate(errors)), get_preemption_info=lambda: going, has_preempted_worker=lambda: taken
        )
        self.failures.after_worker_group_poll_status(status)

    def fail(self, **more: Any) -> None:
        """Workers start, work, and one of them fails, which is seen three times."""
        self.start()
        self.look()
        for _ in range(3):
            self.look(RuntimeError("no luck"), **more)

    def checkpoint(self, step: int) -> None:
        self.directory.write(f"{CHECKPOINTS}/{name_of(step)}", b"")


def test_failures_in_a_row_end_a_run(tmp_path: Path) -> None:
    workers = Workers(tmp_path, most=2)
    workers.fail()
    workers.fail()
    with pytest.raises(FailedTooOftenError) as raised:
        workers.fail()
    assert str(raised.value) == (
        "worker 0: RuntimeError: no luck; that was failure 3 since the newest checkpoint came, and max_failures is 2"
    )
    again = "failed: worker 0: RuntimeError: no luck; all workers start again from the newest checkpoint"
    assert workers.notes.texts == [again] * 2


def test_the_count_begins_anew_with_each_newer_checkpoint(tmp_path: Path) -> None:
    workers = Workers(tmp_path, most=1)
    for step in range(1, 10):
        workers.checkpoint(step)
        workers.fail()
    with pytest.raises(FailedTooOftenError, match="failure 2 since the newest checkpoint came, and max_failures is 1"):
        workers.fail()


def test_without_failures_allowed_the_first_one_ends_it(tmp_path: Path) -> None:
    workers = Workers(tmp_path, most=0)
    workers.checkpoint(1)
    with pytest.raises(FailedTooOftenError):
        workers.fail()


def test_minus_one_allows_them_all(tmp_path: Path) -> None:
    workers = Workers(tmp_path, most=-1)
    for _ in range(20):
        workers.fail()


GOING = PreemptionInfo(deadline_ms=None, preempted_node_to_ranks={"node": [0, 3]})


@pytest.mark.parametrize("how", [{"going": GOING}, {"taken": True}], ids=["warned", "found out"])
def test_a_machine_that_is_taken_away_is_no_failure(how: dict[str, Any], tmp_path: Path) -> None:
    workers = Workers(tmp_path, most=0)
    for _ in range(5):
        workers.fail(**how)
    told = [text for text in workers.notes.texts if text.startswith("the machine of worker 0, 3 is about to be taken")]
    assert len(told) == ("going" in how), "once for each machine"
    assert len(workers.notes.texts) == 5 + len(told)


def test_a_users_error_ends_a_run_at_once(tmp_path: Path) -> None:
    workers = Workers(tmp_path, most=-1)
    workers.start()
    with pytest.raises(UserError, match="mend it"):
        workers.look(RuntimeError("first"), UserError("mend it"))


class OfALibraryError(Exception):
    """With what some libraries' errors have."""

    def __init__(self, text: str, cause: object) -> None:
        super().__init__(text)
        self.cause = cause


@pytest.mark.parametrize("cause", ["the disk", UserError("not ours"), None])
def test_an_attribute_of_a_users_error_is_not_followed(cause: object) -> None:
    error = OfALibraryError("row 7 is broken", cause)
    assert users_error([RayTaskError("step", "", error), error]) is None
    error.__cause__ = UserError("mend it")
    assert users_error([error]) is error.__cause__


def test_errors_that_cause_each_other_are_looked_at_once() -> None:
    one, other = ValueError("one"), ValueError("other")
    one.__cause__, other.__cause__ = other, one
    assert users_error([one, one]) is None


def test_a_users_error_is_found_in_what_ray_put_around_it() -> None:
    error = UserError("mend it")
    assert users_error([ray.train.ControllerError(RayTaskError("step", "", error))]) is error


def test_too_many_failures_reach_the_caller_as_rays_own_error() -> None:
    """Through two processes; with the workers' errors in it."""
    died = ActorDiedError()
    told = pickle.loads(pickle.dumps(ray.train.ControllerError(FailedTooOftenError("too many", {1: died}))))  # noqa: S301
    said: Any = as_ray_says(told)
    assert isinstance(said, ray.train.WorkerGroupError)
    assert isinstance(said.worker_failures[1], ActorDiedError)
    assert "too many" in str(said)
    assert causes(said)[0] is said.worker_failures[1]
    other = ray.train.ControllerError(ValueError("something else"))
    assert as_ray_says(other) is other


def test_fewer_than_minus_one_is_refused() -> None:
    with pytest.raises(UserError) as raised:
        RunSettings(max_failures=-2)
    assert str(raised.value) == "max_failures is -2, but it must be at least 0, or -1: no limit"
    assert RunSettings(max_failures=-1).max_failures == -1
