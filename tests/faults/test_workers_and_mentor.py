"""Workers and mentors that really die or hang: the run ends as if nothing had happened, bit for bit."""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

import accidents
import pytest
import ray
from accidents import Accident, AtCheckpoint, AtStep, count, mentor_that_meets
from small_runs import assert_one_row_per_sample_and_epoch, assert_same_run, trainer_for

from ray_mentor.data import Splits
from ray_mentor.errors import MentorLostError
from ray_mentor.on_ray import trainer as trainer_module
from ray_mentor.on_ray.mentor_actor import MentorActor
from ray_mentor.on_ray.outcome import Outcome

pytestmark = pytest.mark.usefixtures("local_ray")

ray.cloudpickle.register_pickle_by_value(accidents)  # type: ignore[attr-defined]
ray.cloudpickle.register_pickle_by_value(sys.modules[__name__])  # type: ignore[attr-defined]

Rows = list[dict[str, Any]]


@pytest.fixture(scope="module")
def storage(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("runs")


@pytest.fixture
def accident(tmp_path: Path) -> Any:
    """Makes armed accidents; all of them must have happened by the end."""
    made: list[Accident] = []

    def make(name: str, what: str = "kill", mentor: bool = False) -> Accident:
        made.append(Accident(str(tmp_path), name, what, mentor).arm())
        return made[-1]

    yield make
    assert all(one.happened for one in made), made


def starts(rows: Rows) -> list[float]:
    """How far the run was, each time that its workers began."""
    return [row["progress"] for row in rows if row["kind"] == "started"]


def notes(rows: Rows) -> list[str]:
    return [row["text"] for row in rows if row["kind"] == "note"]


def test_workers_that_die(accident: Any, undisturbed: Outcome, small_splits: Splits, storage: Path) -> None:
    """One in the middle of an epoch, then one in a checkpoint, when its ledger rows are there and its state is not."""
    rows: Rows = []
    outcome = trainer_for(
        small_splits,
        storage,
        "workers",
        workers=2,
        optimizer=AtStep(((1, 8, accident("rank 1 in step 8", "exit")),)),
        student=AtCheckpoint(accident("rank 0 in a checkpoint")),
        checkpoint_steps=3,
    ).fit(rows.append)
    assert starts(rows)[0] == 0.0
    assert len(starts(rows)) == 3
    assert len(notes(rows)) == 2
    assert all("all workers start again from the newest checkpoint" in note for note in notes(rows))
    assert_same_run(outcome, undisturbed)
    assert_one_row_per_sample_and_epoch(outcome.ledger(), small_splits)


def test_a_mentor_that_dies_at_every_moment(
    accident: Any, undisturbed: Outcome, small_splits: Splits, storage: Path, tmp_path: Path
) -> None:
    """No update is lost or applied twice, and the workers go on without a restart."""
    folder = str(tmp_path)
    actor = mentor_that_meets(
        folder,
        {
            ("score", 3): accident("as it scores"),
            ("learn", 3): accident("before it learns"),
            ("learned", 5): accident("when it has learned, and has not answered"),
        },
    )
    between = AtStep(((0, 14, accident("between score and learn", mentor=True)),))
    checkpoint = AtCheckpoint(accident("in a checkpoint", mentor=True))
    rows: Rows = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(trainer_module, "MentorActor", actor)
        outcome = trainer_for(small_splits, storage, "mentor", workers=2, optimizer=between, student=checkpoint).fit(
            rows.append
        )
    assert count(folder, "started") == 6
    assert count(folder, "loaded") >= 4  # each new one but the very first is handed the latest state
    assert starts(rows) == [0.0]
    assert_same_run(outcome, undisturbed)


def test_what_hangs_counts_as_dead(
    accident: Any, undisturbed: Outcome, small_splits: Splits, storage: Path, tmp_path: Path
) -> None:
    """First the mentor, then a worker are stopped as a lost network would stop them."""
    actor = mentor_that_meets(str(tmp_path), {("score", 4): accident("the mentor", "stop")})
    rows: Rows = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(trainer_module, "MentorActor", actor)
        began = time.monotonic()
        outcome = trainer_for(
            small_splits,
            storage,
            "hangs",
            workers=2,
            optimizer=AtStep(((1, 12, accident("rank 1", "stop")),)),
            hang_seconds=8,
        ).fit(rows.append)
    assert len(starts(rows)) == 2
    assert starts(rows)[1] == 0.5
    assert time.monotonic() - began < 120
    assert_same_run(outcome, undisturbed)


def mentor_that_dies_for_good(folder: Path) -> type[MentorActor]:
    """In its fourth update; the next one cannot be made."""

    class CannotComeBack(MentorActor):
        def __init__(self, *arguments: Any) -> None:
            if (folder / "died").exists():
                raise MemoryError("no room for a mentor")
            super().__init__(*arguments)

        def learn(self, version: int, *arguments: Any) -> Any:
            if version == 3:
                (folder / "died").touch()
                os.kill(os.getpid(), signal.SIGKILL)
            return super().learn(version, *arguments)

    return CannotComeBack


def test_a_mentor_that_cannot_come_back(
    undisturbed: Outcome, small_splits: Splits, storage: Path, tmp_path: Path
) -> None:
    """The run ends, and says what was saved and how to go on; which then works."""
    rows: Rows = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(trainer_module, "MentorActor", mentor_that_dies_for_good(tmp_path))
        with pytest.raises(MentorLostError) as raised:
            trainer_for(small_splits, storage, "lost", workers=2).fit(rows.append)
    assert str(raised.value).startswith("the mentor actor died and did not come back (")
    (saved,) = raised.value.__notes__
    assert saved == f"saved: {storage}/lost/checkpoints/step-{5:012d}.pt, step 5; go on with --resume"
    assert len(starts(rows)) == 1
    assert_same_run(trainer_for(small_splits, storage, "lost", workers=2, resume=True).fit(), undisturbed)
