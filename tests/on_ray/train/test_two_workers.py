"""Runs of two workers on a real Ray. A start takes many seconds, so few runs serve all tests."""

from __future__ import annotations

import dataclasses
import functools
import json
import signal
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import listening
import numpy as np
import pyarrow.fs
import pytest
import ray
import ray.train
import ray.util.state
import torch
from accidents import Slow, TellsWhoTakesItsState, breaking, count
from listening import WritesDown
from mapped_splits import mapped_splits
from small_runs import (
    EPOCHS,
    INTERVAL,
    MENTOR,
    STEPS,
    UNMIXED,
    assert_one_row_per_sample_and_epoch,
    assert_same_bits,
    assert_same_run,
    in_order,
    names_in,
    trainer_for,
)

from ray_mentor.data import Splits
from ray_mentor.errors import NonFiniteLossError, UserError
from ray_mentor.on_ray.train.reports import EVERY
from ray_mentor.on_ray.train.trainer import CurriculumTrainer
from ray_mentor.on_ray.train.watch import watched
from ray_mentor.run.checkpoint.checkpoints import newest_good
from ray_mentor.run.outcome import Outcome
from ray_mentor.run.progress import ProgressBoard

ray.cloudpickle.register_pickle_by_value(listening)  # type: ignore[attr-defined]

pytestmark = pytest.mark.usefixtures("local_ray")

OURS = ("MentorActor", "RunBoard")

ON_CTRL_C = signal.getsignal(signal.SIGINT)  # a shell's background job ignores it


@pytest.fixture(scope="module")
def storage(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("runs")


@dataclass(frozen=True)
class Broke:
    """A run whose student went bad in its third epoch, and that went on once it was mended.

    Attributes:
        error: what the first half ended with.
        had_result: whether there was a result by then.
        rows: what the second half showed.
        outcome: at the end.
    """

    error: NonFiniteLossError
    had_result: bool
    rows: list[dict[str, Any]]
    outcome: Outcome


@pytest.fixture(scope="module")
def broke(small_splits: Splits, storage: Path) -> Broke:
    """The workers score with replicas of the mentor; the second half maps its data, and has to make the files anew."""
    broken = storage / "broken"
    broken.touch()
    changes: dict[str, Any] = {
        "workers": 2,
        "optimizer": breaking(str(broken), after_steps=12),
        "mentor": dataclasses.replace(MENTOR, scoring="replica"),
    }
    with pytest.raises(NonFiniteLossError) as raised:
        trainer_for(small_splits, storage, "broke", **changes).fit()
    had_result = (storage / "broke" / "result.json").exists()
    broken.unlink()
    rows: list[dict[str, Any]] = []
    mapped = mapped_splits(small_splits, storage)
    for file in storage.glob("*/cache/*.arrow"):
        file.unlink()
    outcome = trainer_for(mapped, storage, "broke", resume=True, **changes).fit(rows.append)
    return Broke(raised.value, had_result, rows, outcome)


@pytest.fixture(scope="module")
def alone(small_splits: Splits, storage: Path) -> Outcome:
    return trainer_for(small_splits, storage, "alone", curriculum=UNMIXED).fit()


@pytest.fixture(scope="module")
def together(small_splits: Splits, storage: Path) -> Outcome:
    (storage / "taken").mkdir()
    student = functools.partial(TellsWhoTakesItsState, str(storage / "taken"))
    return trainer_for(small_splits, storage, "together", workers=2, curriculum=UNMIXED, student=student).fit()


@pytest.fixture(scope="module")
def told(small_splits: Splits, storage: Path) -> CurriculumTrainer:
    """A finished run of two workers, on a file system of the user's own, that goes on; the user's callback listens."""
    for epochs in (2, EPOCHS):
        files = pyarrow.fs.SubTreeFileSystem(str(storage), pyarrow.fs.LocalFileSystem())
        config = ray.train.RunConfig(
            name="told", storage_path="bucket", storage_filesystem=files, callbacks=[WritesDown(storage / "said")]
        )
        changes: dict[str, Any] = {"scaling_config": ray.train.ScalingConfig(num_workers=2), "resume": epochs > 2}
        slow = Slow(EVERY / 4)  # five steps an epoch
        trainer = trainer_for(
            small_splits, storage, "told", run_config=config, epochs=epochs, optimizer=slow, **changes
        )
        trainer.fit()
    return trainer


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:The `parse_obj` method is deprecated")  # Ray's own use of it
def test_ray_and_its_callbacks_are_told_of_two_workers(told: CurriculumTrainer, storage: Path) -> None:
    """Each epoch once, by both; and at the end of each attempt of the student, which lies where the run does."""
    said = WritesDown(storage / "said").said()
    assert [[row["epoch"] for row in line["metrics"]] for line in said] == [[epoch] * 2 for epoch in range(EPOCHS)]
    student = "bucket/told/student"
    assert [line["path"] for line in said] == [None, student, None, student]
    result = told.ray_result
    assert result is not None
    assert result.metrics == said[-1]["metrics"][0]
    state = newest_good(told.directory, lambda text: None)
    assert state is not None
    with result.checkpoint.as_directory() as folder:  # type: ignore[union-attr]
        assert_same_bits(torch.load(f"{folder}/state_dict.pt", weights_only=True), state.state.student)
    again = ray.train.Result.from_path("bucket/told", told._place.run.storage_filesystem)
    assert again.metrics == result.metrics
    assert again.checkpoint is not None
    assert again.checkpoint.path == student


def test_there_is_one_call_per_step_and_no_other(undisturbed_storage: Path) -> None:
    """One score a step, made by rank 0 for all, and one learn a meta update; nothing is handed over or repeated."""
    calls = {what: count(str(undisturbed_storage), what) for what in ("started", "score", "learn", "learned", "loaded")}
    assert calls == {"started": 1, "score": STEPS, "learn": (n := STEPS // INTERVAL), "learned": n, "loaded": 0}


@pytest.mark.slow
def test_actor_and_replica_scoring_give_the_same_bits(undisturbed: Outcome, broke: Broke) -> None:
    """And a run that went on from its checkpoint, on mapped data, those of one that never stopped."""
    assert_same_run(broke.outcome, undisturbed)


@pytest.mark.slow
def test_two_workers_give_what_one_process_gives(together: Outcome, alone: Outcome) -> None:
    """Up to rounding: two ranks add their gradients in another order, 1e-7 a step, and 20 steps carry it on."""
    for name, value in alone.student_state.items():
        torch.testing.assert_close(together.student_state[name], value, rtol=1e-4, atol=1e-5)
    for ours, theirs in zip(together.metrics, alone.metrics, strict=True):
        same = (
            "epoch",
            "steps",
            "meta_updates",
            "test_accuracy",
            "trusted_accuracy",
            "validation_agreement",
            "learning_rate",
        )
        assert [ours[name] for name in same] == [theirs[name] for name in same]
        assert ours["meta_loss"] == pytest.approx(theirs["meta_loss"], rel=1e-4)
    one, two = in_order(alone.ledger()), in_order(together.ledger())
    for name in ("sample_id", "epoch", "step", "given_label", "true_label"):
        assert two[name].equals(one[name]), name
    for name in ("loss", "scored_weight", "sample_weight", "influence"):
        found, expected = (np.asarray(table[name].combine_chunks().to_numpy(False)) for table in (two, one))
        np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-5, err_msg=name)


@pytest.mark.slow
def test_rank_0_alone_takes_the_students_state(together: Outcome, storage: Path) -> None:
    """For a checkpoint: nobody else needs room for a second student."""
    assert len(list((Path(together.path) / "checkpoints").glob("*.pt"))) == 2
    assert {file.name for file in (storage / "taken").iterdir()} == {"rank-0"}


def test_the_ledger_of_two_ranks_has_a_row_per_sample_and_epoch(undisturbed: Outcome, small_splits: Splits) -> None:
    assert_one_row_per_sample_and_epoch(undisturbed.ledger(), small_splits)
    files = names_in(Path(undisturbed.path) / "ledger") - {"_files.json"}
    assert {name.split("rank-")[1] for name in files} == {"0000.parquet", "0001.parquet"}
    assert len(files) == 2 * EPOCHS, "one a rank and epoch"


def test_the_run_directory_of_two_workers(undisturbed: Outcome) -> None:
    """Our files, and the two newest checkpoints among them; of Ray Train its books, which know of the student."""
    names = {entry.name for entry in Path(undisturbed.path).iterdir() if not entry.name.startswith(".")}
    ours = {"config.toml", "result.json", "metrics.csv", "attempt", "ledger", "checkpoints", "student"}
    found = {
        "audit.csv",
        "audit.parquet",
        "trusted.parquet",
        "report.html",
        "predictions.parquet",
        "classes.json",
        "mentor.npz",
    }
    assert names == {*ours, *found, "checkpoint_manager_snapshot.json"}
    assert len(list((Path(undisturbed.path) / "checkpoints").glob("*.pt"))) == 2
    result = json.loads((Path(undisturbed.path) / "result.json").read_text())
    assert (result["steps"], result["meta_updates"], result["workers"]) == (STEPS, STEPS // INTERVAL, 2)


def test_rows_are_shown_while_the_run_goes_on(undisturbed: Outcome, undisturbed_storage: Path) -> None:
    rows = json.loads((undisturbed_storage / "rows.json").read_text())
    assert [row["kind"] for row in rows if row["kind"] != "step"] == ["started", *["epoch"] * EPOCHS, "ended"]
    assert [row for row in rows if row["kind"] == "epoch"] == [{"kind": "epoch", **row} for row in undisturbed.metrics]


@pytest.mark.slow
def test_a_bad_loss_stops_both_workers(small_splits: Splits, broke: Broke) -> None:
    """An error that names step and samples."""
    text = str(broke.error)
    assert text.startswith("the loss is not finite at step 12 for 34 of 34 samples (sample ids ")
    assert "Traceback" not in text
    ids = map(int, text.split("sample ids ")[1].split(", ...")[0].split(", "))
    assert set(ids) <= set(small_splits.train.ids.tolist())
    assert not broke.had_result


@pytest.mark.slow
def test_the_run_goes_on_from_its_checkpoint(small_splits: Splits, broke: Broke) -> None:
    assert [row["epoch"] for row in broke.rows if row["kind"] == "epoch"] == [2, 3]
    assert_one_row_per_sample_and_epoch(broke.outcome.ledger(), small_splits)


@pytest.mark.slow
def test_ctrl_c_means_what_it_meant_before(broke: Broke) -> None:
    assert signal.getsignal(signal.SIGINT) is ON_CTRL_C


def test_more_workers_than_the_cluster_has_are_refused(small_splits: Splits, storage: Path) -> None:
    with pytest.raises(UserError) as raised:
        trainer_for(small_splits, storage, "wide", workers=3).fit()
    assert str(raised.value) == "the workers need 3 CPUs, but there are 2; give fewer --workers"
    assert not (storage / "wide").exists()


def test_a_board_that_died_does_not_end_the_run_and_is_told_of_once() -> None:
    board: Any = ray.remote(ProgressBoard).options(num_cpus=0).remote()
    seen: list[dict[str, Any]] = []
    with watched(board, seen.append):
        board.post.remote({"kind": "started"})
        wait_for_rows(seen, 1)
        ray.kill(board)
        board.post.remote({"kind": "ended"})
        wait_for_rows(seen, 2)
        time.sleep(0.5)
    assert seen == [
        {"kind": "started"},
        {
            "kind": "note",
            "text": "warning: the actor that takes down the progress has died; the run goes on, but from here on its "
            "folder alone tells of it",
        },
    ]


def wait_for_rows(seen: list[dict[str, Any]], count: int) -> None:
    deadline = time.monotonic() + 60
    while len(seen) < count:
        assert time.monotonic() < deadline, seen
        time.sleep(0.01)


@pytest.mark.slow
def test_no_actor_of_ours_outlives_its_run(broke: Broke) -> None:
    """Runs on a Ray of the user's own must leave it as they found it; after failed runs too."""
    deadline = time.monotonic() + 60
    while left := actors_of_ours():
        assert time.monotonic() < deadline, [(actor.class_name, actor.state) for actor in left]
        time.sleep(0.5)


def actors_of_ours() -> list[Any]:
    actors = ray.util.state.list_actors(address=ray.get_runtime_context().gcs_address, limit=1000)
    return [actor for actor in actors if actor.class_name in OURS and actor.state != "DEAD"]


@pytest.mark.slow
def test_all_cpus_are_free_again(broke: Broke) -> None:
    deadline = time.monotonic() + 60
    while ray.available_resources().get("CPU") != 2.0:
        assert time.monotonic() < deadline, ray.available_resources()
        time.sleep(0.5)
