"""Workers and mentors that really die or hang: the run ends as if nothing had happened, bit for bit."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from typing import Any

import accidents
import pytest
import ray
import ray.train
from accidents import Accident, AtCheckpoint, AtStep, count, mentor_that_meets
from small_runs import STEPS, WRITER, assert_one_row_per_sample_and_epoch, assert_same_run, trainer_for

from ray_mentor.data import Splits
from ray_mentor.errors import MentorLostError
from ray_mentor.on_ray.mentor.actor import MentorActor
from ray_mentor.on_ray.train import places
from ray_mentor.run.outcome import Outcome

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("local_ray")]

ray.cloudpickle.register_pickle_by_value(accidents)  # type: ignore[attr-defined]
ray.cloudpickle.register_pickle_by_value(sys.modules[__name__])  # type: ignore[attr-defined]

Rows = list[dict[str, Any]]

HANG_SECONDS = 40  # in which a mentor must start, where other tests keep all cores busy


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


def test_workers_and_a_mentor_that_die_or_hang(
    accident: Any, undisturbed: Outcome, small_splits: Splits, storage: Path, tmp_path: Path
) -> None:
    """What hangs is stopped, as a lost network would stop it, and counts as dead.

    Rank 0 dies in the first checkpoint, when its ledger rows are there and its state is not; then the mentor hangs;
    rank 1 dies in the middle of an epoch; and hangs in another.
    """
    actor = mentor_that_meets(str(tmp_path), {("score", 4): accident("the mentor", "stop")})
    rows: Rows = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(places, "MentorActor", actor)
        outcome = trainer_for(
            small_splits,
            storage,
            "die-or-hang",
            workers=2,
            student=AtCheckpoint(accident("rank 0 in a checkpoint")),
            optimizer=AtStep(
                ((1, 8, accident("rank 1 in step 8", "exit")), (1, 12, accident("12 steps after a start", "stop")))
            ),
            checkpoint_steps=3,
            hang_seconds=HANG_SECONDS,
        ).fit(rows.append)
    assert starts(rows) == [0.0, 0.0, 6 / STEPS, 15 / STEPS]
    assert count(str(tmp_path), "started") == 2
    failed = [note for note in notes(rows) if not note.startswith("going on after step ")]
    assert [note.split(",")[0] for note in notes(rows) if note not in failed] == [
        f"going on after step {step} of {STEPS}" for step in (6, 15)
    ]
    assert len(failed) == 3
    assert all("all workers start again from the newest checkpoint" in note for note in failed)
    assert f"(current value: {HANG_SECONDS} seconds)" in failed[2], "and not the 10 minutes that Ray would wait"
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
        patch.setattr(places, "MentorActor", actor)
        outcome = trainer_for(small_splits, storage, "mentor", workers=2, optimizer=between, student=checkpoint).fit(
            rows.append
        )
    assert count(folder, "started") == 6
    assert count(folder, "loaded") >= 4  # each new one but the very first is handed the latest state
    assert starts(rows) == [0.0]
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


def test_a_mentor_that_cannot_come_back_and_a_worker_that_dies_too_often(
    accident: Any, small_splits: Splits, storage: Path, tmp_path: Path
) -> None:
    """Each ends the run, which says what was saved and how to go on; which then works, as if nothing had happened."""
    rows: Rows = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(places, "MentorActor", mentor_that_dies_for_good(tmp_path))
        with pytest.raises(MentorLostError) as lost:
            trainer_for(small_splits, storage, "lost", workers=1).fit(rows.append)
    assert str(lost.value).startswith("the mentor actor died and did not come back (")
    assert [WRITER.sub("", note) for note in lost.value.__notes__] == [saved(storage, 5)]
    assert len(starts(rows)) == 1

    out_of_memory = AtStep(((0, 7, accident("killed, as by the kernel that has no memory left")),))
    again: Any = {"workers": 1, "resume": True}
    trainer = trainer_for(small_splits, storage, "lost", optimizer=out_of_memory, max_failures=0, **again)
    with pytest.raises(ray.train.TrainingFailedError) as failed:
        trainer.fit(rows.append)
    assert [WRITER.sub("", note) for note in failed.value.__notes__] == [saved(storage, 10)]
    assert starts(rows)[1:] == [5 / STEPS]

    alone = trainer_for(small_splits, storage, "alone").fit()
    assert_same_run(trainer_for(small_splits, storage, "lost", **again).fit(), alone)


def saved(storage: Path, step: int) -> str:
    return f"saved: {storage}/lost/checkpoints/step-{step:012d}.pt, step {step}; go on with --resume"
