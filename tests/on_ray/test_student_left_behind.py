"""What a run leaves to take away: at its end, when it ends early, and when it goes on."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet
import pytest
import ray.train
from small_runs import EPOCHS, interrupted, make_small_splits, trainer_for

from ray_mentor import CurriculumConfig, Student
from ray_mentor.errors import StoppedByUser, UserError
from ray_mentor.run.directory import RunDirectory
from ray_mentor.run.trained.trained_on import TrainedOn, fingerprints
from ray_mentor.students import make_student

pytestmark = pytest.mark.long

SPLITS = make_small_splits()
RAW = SPLITS.test.inputs.values


def test_a_finished_runs_student_has_the_accuracy_that_was_measured(tmp_path: Path) -> None:
    build = functools.partial(make_student, "mlp", (8,), 3)
    outcome = trainer_for(SPLITS, tmp_path, "n", student=build, feature_names=tuple("abcdefgh")).fit()
    student = outcome.student()
    said = student.predict(np.asarray(RAW)).argmax(1)
    assert (said == SPLITS.test.true_labels).mean() == pytest.approx(outcome.result["test_accuracy"])
    written = pyarrow.parquet.read_table(f"{outcome.path}/predictions.parquet")["predicted"].to_numpy()
    assert np.array_equal(said, written)
    assert student.about.build == {"name": "mlp", "input_shape": [8], "n_classes": 3}
    assert student.about.input.names == tuple("abcdefgh")
    assert student.about.finished
    assert (student.figures["epoch"], student.figures["test_accuracy"]) == (
        outcome.result["kept_epoch"], outcome.result["test_accuracy"],
    )  # fmt: skip
    assert np.array_equal(Student.from_run(outcome.path).predict(np.asarray(RAW)), student.predict(np.asarray(RAW)))
    assert_knows_what_it_was_trained_on(outcome.path)


def assert_knows_what_it_was_trained_on(path: str) -> None:
    known = TrainedOn.read(RunDirectory(path))
    assert known is not None
    for samples, were_trained_on in ((SPLITS.train, True), (SPLITS.meta, True), (SPLITS.test, False)):
        assert (known.has(fingerprints(samples.inputs.content_hashes())) == were_trained_on).all()


def test_one_that_is_stopped_leaves_its_newest_checkpoints_and_goes_on_to_another(tmp_path: Path) -> None:
    own = trainer_for(SPLITS, tmp_path, "n", optimizer=interrupted(13))
    with pytest.raises(StoppedByUser):
        own.fit()
    path = str(tmp_path / "n")
    build = own._build
    stopped = Student.from_run(path, build)
    assert not stopped.about.finished
    assert stopped.about.build is None, "it is the user's own"
    assert stopped.figures["epoch"] == 2
    assert stopped.figures["step"] == 10, "of the newest checkpoint"
    assert_knows_what_it_was_trained_on(path)
    assert stopped.notes == ("the run ended early: this is the student after epoch 2 of 4",)
    config = ray.train.RunConfig(name="n", storage_path=str(tmp_path))
    outcome = trainer_for(SPLITS, tmp_path, "n", run_config=config, resume=True).fit()
    assert outcome.student().about.finished
    assert outcome.student().figures["step"] == EPOCHS * 5
    again = trainer_for(SPLITS, tmp_path, "n", run_config=config, resume=True).fit()
    assert np.array_equal(again.student().predict(np.asarray(RAW)), outcome.student().predict(np.asarray(RAW)))


def test_two_students_are_both_there(tmp_path: Path) -> None:
    build = functools.partial(make_student, "mlp", (8,), 3)
    curriculum = CurriculumConfig(method="co-teaching")
    outcome = trainer_for(SPLITS, tmp_path, "n", student=build, curriculum=curriculum).fit()
    said = Student.from_run(outcome.path).predict(np.asarray(RAW)).argmax(1)
    assert (said == SPLITS.test.true_labels).mean() == pytest.approx(outcome.result["test_accuracy"])


def test_a_student_that_cannot_be_written_ends_no_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: Any) -> bytes:
        raise UserError("it is odd")

    monkeypatch.setattr("ray_mentor.run.trained.written.to_bytes", refuse)
    notes: list[Any] = []
    outcome = trainer_for(SPLITS, tmp_path, "n").fit(lambda row: notes.append(row.get("text")))
    assert outcome.result["test_accuracy"] > 0.5
    (said,) = [note for note in notes if note and "student.json" in note]
    assert said == (
        "no student/student.json was written (it is odd); the run is whole without it: outcome.student_state has the "
        "params"
    )
    assert (tmp_path / "n/result.json").exists()
