"""Runs in this process: what they leave in their directory, resumed and refused ones, mistakes."""

from __future__ import annotations

import csv
import dataclasses
import functools
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
import ray
import ray.train
import torch
from mapped_splits import mapped_splits
from small_runs import (
    BATCH,
    EPOCHS,
    INTERVAL,
    LARGE,
    MENTOR,
    STEPS,
    assert_one_row_per_sample_and_epoch,
    assert_same_run,
    interrupted,
    names_in,
    trainer_for,
)

from ray_mentor.config import CurriculumConfig, MentorConfig, StudentConfig, TrainConfig
from ray_mentor.config.file import read_config
from ray_mentor.core.student.optimizers import make_optimizer
from ray_mentor.data import Splits, memory
from ray_mentor.errors import NonFiniteLossError, UserError
from ray_mentor.on_ray.train.places import Place
from ray_mentor.run.claim import taken_up
from ray_mentor.run.directory import RunDirectory
from ray_mentor.run.ledger.rows import SCHEMA
from ray_mentor.run.outcome import Outcome
from ray_mentor.students import MLP

pytestmark = pytest.mark.long  # runs that are stopped and go on

THE_ISSUES_KEYS = {
    "test_accuracy",
    "noise_auroc",
    "train_seconds",
    "wall_seconds",
    "steps",
    "meta_updates",
    "samples_per_second",
    "method",
    "seed",
    "versions",
}
MORE_KEYS = {
    "phase_seconds",
    "part_seconds",
    "workers",
    "guards",
    "notes",
    "trusted_accuracy",
    "trusted_interval",
    "trusted_held_out",
    "test_agreement",
    "validation_agreement",
    "kept_epoch",
    "noise_auroc_of",
    "sample_weight_spread",
    "wrong_labels",
    "wrong_labels_interval",
    "wrong_labels_by_trusted",
    "first_known_wrong",
    "classes",
    "mean_sample_weight_elsewhere",
    "test_balanced_accuracy",
    "test_many_accuracy",
    "test_medium_accuracy",
    "test_few_accuracy",
    "test_worst_class_accuracy",
    "test_worst_class",
    "class_ratio",
    "test_macro_f1",
    "test_confusion",
}


class Stop:
    """Shows nothing, and stops a run after some epochs, as Ctrl-C does."""

    def __init__(self, after: int) -> None:
        self.after = after

    def __call__(self, row: dict[str, Any]) -> None:
        if row["kind"] == "epoch" and row["epoch"] == self.after:
            raise KeyboardInterrupt


@pytest.fixture(scope="module", autouse=True)
def without_ray() -> Iterator[None]:
    yield
    assert not ray.is_initialized(), "a run in this process has no need of Ray's processes"


@pytest.fixture(scope="module")
def finished(small_splits: Splits, tmp_path_factory: pytest.TempPathFactory) -> Outcome:
    return trainer_for(small_splits, tmp_path_factory.mktemp("runs"), "finished").fit()


def files_of(path: Path) -> dict[str, bytes]:
    return {str(file.relative_to(path)): file.read_bytes() for file in path.rglob("*") if file.is_file()}


# What a run leaves behind


def test_the_student_learns_in_spite_of_the_noise(finished: Outcome) -> None:
    assert finished.result["test_accuracy"] > 0.9
    assert finished.result["noise_auroc"] > 0.95


def test_the_run_directory(finished: Outcome) -> None:
    path, epoch = Path(finished.path), STEPS // EPOCHS
    written = {"config.toml", "classes.json", "result.json", "metrics.csv", "predictions.parquet", "mentor.npz"}
    written |= {"report.html"}
    written |= {"audit.csv", "audit.parquet", "trusted.parquet", "report.html"}
    assert names_in(path) == written | {"attempt"}
    assert {file.name for file in path.iterdir() if file.is_dir()} == {"ledger", "checkpoints", "student"}
    assert names_in(path / "checkpoints") == {f"step-{step:012d}.pt" for step in (STEPS - epoch, STEPS)}
    assert names_in(path / "ledger") == {
        "_files.json",
        *(f"step-{first:012d}-{first + epoch:012d}-rank-0000.parquet" for first in range(0, STEPS, epoch)),
    }
    assert not list((path / "checkpoints/ledger").iterdir())


def test_the_result(finished: Outcome) -> None:
    result = json.loads((Path(finished.path) / "result.json").read_text())
    assert result == finished.result
    assert result.keys() == THE_ISSUES_KEYS | MORE_KEYS
    assert (result["method"], result["seed"], result["workers"]) == ("mentornet", 0, 0)
    assert (result["steps"], result["meta_updates"]) == (STEPS, STEPS // INTERVAL)
    wrong, first = result["first_known_wrong"]
    low, high = result["wrong_labels_interval"]
    assert 0 <= low <= result["wrong_labels"] <= high <= 1
    assert first == 50
    assert 0 <= wrong <= first
    assert result["test_balanced_accuracy"] == pytest.approx(
        np.mean([each["test_accuracy"] for each in result["classes"] if each["test_accuracy"] is not None])
    )
    assert result["versions"].keys() == {"python", "ray-mentor", "ray", "torch", "torchvision", "numpy", "pyarrow"}
    assert result["samples_per_second"] == pytest.approx(150 * EPOCHS / result["train_seconds"])


def test_the_accuracies_are_those_of_the_epoch_that_is_kept(finished: Outcome) -> None:
    result = finished.result
    [kept] = [row for row in finished.metrics if row["epoch"] + 1 == result["kept_epoch"]]
    for name in ("test_accuracy", "trusted_accuracy", "validation_agreement"):
        assert result[name] == kept[name]
    assert result["trusted_held_out"] == 9
    low, high = result["trusted_interval"]
    assert 0 < low < result["trusted_accuracy"] <= high <= 1


def test_the_phases_add_up_to_the_wall_time(finished: Outcome) -> None:
    phases = finished.result["phase_seconds"]
    assert list(phases) == ["prepare", "start_ray", "start_workers", "train", "finish"]
    assert all(seconds >= 0 for seconds in phases.values())
    assert sum(phases.values()) == pytest.approx(finished.result["wall_seconds"], abs=0.1)
    assert phases["train"] == pytest.approx(finished.result["train_seconds"], abs=0.2)


def test_the_parts_of_training_are_nearly_all_of_it(finished: Outcome) -> None:
    parts, whole = finished.result["part_seconds"], finished.result["phase_seconds"]["train"]
    assert set(parts) == {"reading", "scoring", "student", "meta step", "ledger", "measuring", "saving"}
    assert min(parts.values()) > 0
    assert 0.5 * whole < sum(parts.values()) <= whole


def test_the_metrics_have_a_row_an_epoch(finished: Outcome) -> None:
    rows = list(csv.DictReader((Path(finished.path) / "metrics.csv").read_text().splitlines()))
    assert [int(row["epoch"]) for row in rows] == list(range(EPOCHS))
    assert list(rows[0]) == [
        "epoch", "steps", "meta_updates", "fallbacks", "memorised", "loss", "mean_sample_weight", "meta_loss",
        "d_weight_decay", "d_log_learning_rate", "d_momentum", "d_label_smoothing", "d_log_temperature",
        *(f"d_logit_adjustment/{label}" for label in range(3)),
        "meta_holdout_loss", "trusted_accuracy", "test_accuracy", "test_agreement", "validation_agreement",
        "learning_rate", "samples_per_second", "train_seconds",
    ]  # fmt: skip
    for row, expected in zip(rows, finished.metrics, strict=True):
        found = {name: float(value) if value else None for name, value in row.items()}
        assert found == pytest.approx({name: expected.get(name) for name in found})
        assert expected.keys() <= found.keys()


def test_the_metrics_are_means_of_the_ledger(finished: Outcome) -> None:
    ledger = finished.ledger()
    for row in finished.metrics:
        rows = ledger.filter(pc.equal(ledger["epoch"], row["epoch"]))
        assert row["loss"] == pytest.approx(pc.mean(rows["loss"]).as_py(), rel=1e-6)
        assert row["mean_sample_weight"] == pytest.approx(pc.mean(rows["sample_weight"]).as_py(), rel=1e-6)


def test_the_ledger_has_a_row_per_sample_and_epoch(finished: Outcome, small_splits: Splits) -> None:
    ledger = finished.ledger()
    assert ledger.schema.equals(SCHEMA)
    assert ledger.column_names == [
        "sample_id", "epoch", "step", "loss", "scored_weight", "sample_weight", "influence", "given_label",
        "true_label", "predicted_label", "margin", "class_factor", "domain", "group",
    ]  # fmt: skip
    assert_one_row_per_sample_and_epoch(ledger, small_splits)


def test_the_ledger_says_what_was_given_and_what_is_true(finished: Outcome, small_splits: Splits) -> None:
    train = small_splits.train
    assert train.true_labels is not None
    pairs = np.stack([train.labels, train.true_labels], axis=1).tolist()
    labels = dict(zip(train.ids.tolist(), pairs, strict=True))
    for row in finished.ledger().to_pylist():
        assert [row["given_label"], row["true_label"]] == labels[row["sample_id"]]
        assert row["epoch"] == row["step"] // (STEPS // EPOCHS)


def test_the_ledger_has_influences_where_a_meta_update_was_due(finished: Outcome) -> None:
    ledger = finished.ledger()
    known = pc.is_valid(ledger["influence"])
    due = pa.chunked_array([np.asarray(ledger["step"]) % INTERVAL == 0])
    assert known.combine_chunks().equals(due.combine_chunks())
    assert not np.isnan(ledger["influence"].drop_null()).any()


def test_the_outcome_holds_the_student(finished: Outcome, small_splits: Splits) -> None:
    student = MLP(8, 3, (16,))
    student.load_state_dict(finished.student_state)
    test = small_splits.test
    assert test is not None
    with torch.no_grad():
        hits = student(test.inputs.take(np.arange(len(test)))).argmax(dim=1) == torch.from_numpy(test.labels)
    assert hits.float().mean().item() == pytest.approx(finished.result["test_accuracy"])


def test_the_config_file_can_be_read_back(finished: Outcome) -> None:
    """A run of the Python API knows no names for its student and its data; the rest is there, under its names."""
    config = TrainConfig.from_flat(read_config(f"{finished.path}/config.toml"))
    assert config.mentor == MENTOR
    assert config.curriculum == CurriculumConfig(burn_in=0.0)
    assert (config.run.epochs, config.run.batch_size, config.run.seed) == (EPOCHS, BATCH, 0)


def test_the_process_draws_on_as_if_there_had_been_no_run(small_splits: Splits, tmp_path: Path) -> None:
    torch.manual_seed(3)
    before = torch.get_rng_state()
    trainer_for(small_splits, tmp_path, "run", epochs=1).fit()
    assert torch.equal(torch.get_rng_state(), before)


def test_the_same_seed_gives_the_same_run(finished: Outcome, small_splits: Splits, tmp_path: Path) -> None:
    assert_same_run(trainer_for(small_splits, tmp_path, "again").fit(), finished)


def test_another_seed_gives_another_run(finished: Outcome, small_splits: Splits, tmp_path: Path) -> None:
    other = trainer_for(small_splits, tmp_path, "other", seed=1, epochs=1).fit()
    assert other.metrics[0]["loss"] != finished.metrics[0]["loss"]


def test_every_row_is_shown(small_splits: Splits, tmp_path: Path) -> None:
    rows: list[dict[str, Any]] = []
    outcome = trainer_for(small_splits, tmp_path, "shown").fit(rows.append)
    assert [row["kind"] for row in rows if row["kind"] != "step"] == ["started", *["epoch"] * EPOCHS, "ended"]
    assert [row for row in rows if row["kind"] == "epoch"] == [{"kind": "epoch", **row} for row in outcome.metrics]


@pytest.mark.parametrize("method", ["uniform", "self-paced", "oracle"])
def test_methods_without_a_learning_mentor(method: str, small_splits: Splits, tmp_path: Path) -> None:
    curriculum = CurriculumConfig(method=method)
    outcome = trainer_for(small_splits, tmp_path, method, curriculum=curriculum, epochs=2).fit()
    assert (outcome.result["method"], outcome.result["meta_updates"]) == (method, 0)
    assert [row["meta_loss"] for row in outcome.metrics] == [None, None]
    assert outcome.ledger()["influence"].null_count == 300
    assert (Path(outcome.path) / "metrics.csv").read_text().count("\n") == 3


def test_what_was_not_given_is_null(small_splits: Splits, tmp_path: Path) -> None:
    bare = dataclasses.replace(small_splits.train, true_labels=None)
    outcome = trainer_for(small_splits, tmp_path, "bare", data=bare, test=None, validation=None, epochs=1).fit()
    nothing = {"test_accuracy": None, "test_agreement": None, "validation_agreement": None, "noise_auroc": None}
    assert {name: outcome.result[name] for name in nothing} == nothing
    assert outcome.ledger()["true_label"].null_count == 150


@pytest.mark.parametrize("method", ["uniform", "self-paced", "oracle"])
def test_a_run_without_trusted_samples(method: str, small_splits: Splits, tmp_path: Path) -> None:
    outcome = trainer_for(
        small_splits, tmp_path, method, meta=None, curriculum=CurriculumConfig(method), epochs=2
    ).fit()
    assert outcome.result["trusted_accuracy"] is None
    assert outcome.result["trusted_held_out"] == 0
    assert outcome.result["kept_epoch"] == 2
    assert len(outcome.ledger()) == 300


@pytest.mark.parametrize(
    ("curriculum", "says"),
    [
        (CurriculumConfig(), "method is 'mentornet', whose mentor learns from a meta set, but there is no trusted"),
        (
            CurriculumConfig("mentornet-dd"),
            "method is 'mentornet-dd', whose mentor is taught on trusted samples, but there is no trusted",
        ),
        (CurriculumConfig("l2rw"), "method is 'l2rw', which weighs samples by a meta set, but there is no trusted"),
        (
            CurriculumConfig("uniform", gradient_rule="pcgrad"),
            "gradient_rule is 'pcgrad', which takes the gradient of a meta set, but there is no trusted",
        ),
        (
            CurriculumConfig("uniform", loss="forward:3"),
            "loss is 'forward:3', which estimates from trusted samples how labels go wrong, but there is no trusted",
        ),
        (
            CurriculumConfig("uniform", mixing="mentormix"),
            "mixing is 'mentormix', which reads off a meta set how much the student memorises, but there is no trusted",
        ),
    ],
)
def test_what_needs_trusted_samples_is_refused_without(
    curriculum: CurriculumConfig, says: str, small_splits: Splits, tmp_path: Path
) -> None:
    with pytest.raises(UserError) as refused:
        trainer_for(small_splits, tmp_path, "none", meta=None, curriculum=curriculum)
    assert str(refused.value).startswith(says)
    cannot_choose = curriculum.loss is not None or curriculum.method == "mentornet-dd"
    instead = "draw a meta set from labels that look right, --meta-from pseudo-clean, "
    assert str(refused.value).endswith(
        f"give some, e.g. --meta-size 100 or --meta-data FILE, {'' if cannot_choose else instead}or train with what "
        "needs none, e.g. --method self-paced or --loss gce"
    )


@pytest.mark.parametrize(
    "curriculum",
    [
        CurriculumConfig("uniform", loss="forward:2", burn_in=0.0),
        CurriculumConfig("mentornet", loss="gce-truncated:0.7:0.5:0.4", mixing="mentormix-published", burn_in=0.0),
        CurriculumConfig("mentornet", loss="logit-adjusted:1:1", reweight="drw", burn_in=0.0),
    ],
    ids=["forward", "truncated, mixed as published", "counted by trust, and reweighted in the end"],
)
def test_what_is_found_once_an_epoch_survives_a_stop(
    curriculum: CurriculumConfig, small_splits: Splits, tmp_path: Path
) -> None:
    """Stopped before it is found, and after it, in the middle of an epoch."""
    whole = trainer_for(small_splits, tmp_path, "whole", curriculum=curriculum).fit()
    for steps in (8, 13):
        changes: dict[str, Any] = {"curriculum": curriculum, "checkpoint_steps": 3}
        with pytest.raises(KeyboardInterrupt):
            trainer_for(small_splits, tmp_path, f"stopped{steps}", optimizer=interrupted(steps), **changes).fit()
        assert_same_run(trainer_for(small_splits, tmp_path, f"stopped{steps}", resume=True, **changes).fit(), whole)


# Stopped, failed and resumed runs


@pytest.mark.parametrize("after", [0, 1, EPOCHS - 1])
def test_a_stopped_run_goes_on_as_if_it_had_never_stopped(
    after: int, finished: Outcome, small_splits: Splits, tmp_path: Path
) -> None:
    """Bit for bit; the epoch after which it was stopped had no checkpoint yet, and is run again."""
    with pytest.raises(KeyboardInterrupt):
        trainer_for(small_splits, tmp_path, "stopped").fit(Stop(after))
    assert not (tmp_path / "stopped" / "result.json").exists()
    rows: list[dict[str, Any]] = []
    outcome = trainer_for(small_splits, tmp_path, "stopped", resume=True).fit(rows.append)
    assert [row["epoch"] for row in rows if row["kind"] == "epoch"] == list(range(after, EPOCHS))
    assert_same_run(outcome, finished)
    assert_one_row_per_sample_and_epoch(outcome.ledger(), small_splits)
    assert outcome.result["steps"] == finished.result["steps"]
    assert outcome.result["meta_updates"] == finished.result["meta_updates"]
    assert outcome.result["noise_auroc"] == finished.result["noise_auroc"]


@pytest.mark.parametrize("before", ["nothing", "empty folders", "a half-written file"])
def test_one_command_starts_a_run_and_goes_on_with_it(
    before: str, finished: Outcome, small_splits: Splits, tmp_path: Path
) -> None:
    """What a run that was killed as it began has left counts as nothing."""
    if before != "nothing":
        (tmp_path / "job" / "ledger").mkdir(parents=True)
    if before == "a half-written file":
        (tmp_path / "job" / ".config.toml.partial").write_text("epo")
    with pytest.raises(KeyboardInterrupt):
        trainer_for(small_splits, tmp_path, "job", resume_or_start=True).fit(Stop(1))
    outcome = trainer_for(small_splits, tmp_path, "job", resume_or_start=True).fit()
    assert_same_run(outcome, finished)
    assert_same_run(trainer_for(small_splits, tmp_path, "job", resume_or_start=True).fit(), finished)


def test_one_command_leaves_a_folder_alone_that_is_no_run(small_splits: Splits, tmp_path: Path) -> None:
    (tmp_path / "precious" / "old").mkdir(parents=True)
    (tmp_path / "precious" / "old" / "notes").write_text("mine")
    before = files_of(tmp_path / "precious")
    with pytest.raises(UserError, match=r"precious is not a run: it has no config.toml"):
        trainer_for(small_splits, tmp_path, "precious", resume_or_start=True).fit()
    assert files_of(tmp_path / "precious") == before


@pytest.mark.parametrize("steps", [1, 2, 4, 5, 7, 13, STEPS - 1])
def test_a_run_stopped_at_any_step_goes_on_as_if_it_had_never_stopped(
    steps: int, finished: Outcome, small_splits: Splits, tmp_path: Path
) -> None:
    """In the middle of an epoch too; a checkpoint after every third step."""
    optimizer = interrupted(steps)
    with pytest.raises(KeyboardInterrupt):
        trainer_for(small_splits, tmp_path, "stopped", checkpoint_steps=3, optimizer=optimizer).fit()
    rows: list[dict[str, Any]] = []
    trainer = trainer_for(small_splits, tmp_path, "stopped", checkpoint_steps=3, resume=True)
    outcome = trainer.fit(rows.append)
    (started,) = [row for row in rows if row["kind"] == "started"]
    assert started["progress"] == (steps - 1) // 3 * 3 / STEPS
    assert_same_run(outcome, finished)
    assert_one_row_per_sample_and_epoch(outcome.ledger(), small_splits)


def test_an_update_that_looks_ahead_is_never_cut_in_two(small_splits: Splits, tmp_path: Path) -> None:
    """A checkpoint that is due while an update waits for the student's next steps is written after it."""
    mentor = dataclasses.replace(MENTOR, estimator="unrolled", update_interval=4, unroll_steps=3)
    whole = trainer_for(small_splits, tmp_path, "whole", mentor=mentor, checkpoint_steps=1, keep_checkpoints=99).fit()
    steps = [int(name.split("-")[1].split(".")[0]) for name in names_in(tmp_path / "whole/checkpoints")]
    assert {step % 4 for step in steps} == {0, 3}
    assert max(steps) == STEPS
    cut = trainer_for(small_splits, tmp_path, "cut", mentor=mentor, checkpoint_steps=1, optimizer=interrupted(10))
    with pytest.raises(KeyboardInterrupt):
        cut.fit()
    outcome = trainer_for(small_splits, tmp_path, "cut", mentor=mentor, checkpoint_steps=1, resume=True).fit()
    assert_same_run(outcome, whole)
    assert outcome.result["meta_updates"] == STEPS // 4


def test_a_run_that_another_process_takes_up_stops(small_splits: Splits, tmp_path: Path) -> None:
    """A worker thought dead, or a driver started twice, adds nothing to what the other one writes."""
    run = tmp_path / "twice"
    before: dict[str, bytes] = {}

    def take_up(row: dict[str, Any]) -> None:
        if row["kind"] == "epoch" and row["epoch"] == 1:
            taken_up(RunDirectory(str(run))).attempted()
            before.update(files_of(run))

    with pytest.raises(UserError) as raised:
        trainer_for(small_splits, tmp_path, "twice").fit(take_up)
    assert str(raised.value) == f"another process has taken up the run {run}; this one stops"
    assert before
    assert files_of(run) == before
    assert names_in(run / "checkpoints") == {f"step-{5:012d}.pt"}
    assert set(Outcome({}, [], str(run), {}).ledger()["epoch"].to_pylist()) == {0}


def test_a_driver_whose_run_was_taken_up_at_its_end_writes_no_result(small_splits: Splits, tmp_path: Path) -> None:
    def take_up(row: dict[str, Any]) -> None:
        if row["kind"] == "ended":
            taken_up(RunDirectory(str(tmp_path / "twice")))

    with pytest.raises(UserError, match=r"another process has taken up the run .*/twice; this one stops"):
        trainer_for(small_splits, tmp_path, "twice").fit(take_up)
    assert not (tmp_path / "twice/result.json").exists()


@pytest.mark.parametrize("length", [2, LARGE])
def test_memory_of_past_losses_and_adam_survive_a_stop(length: int, small_splits: Splits, tmp_path: Path) -> None:
    changes: dict[str, Any] = {
        "mentor": dataclasses.replace(MENTOR, mentor_features=("loss", "history"), history_length=length),
        "optimizer": functools.partial(make_optimizer, config=StudentConfig(optimizer="adam", learning_rate=0.01)),
        "curriculum": CurriculumConfig(mixing="mixup", burn_in=0.3, example_dropout="0.5:0.5,0.1:0.5"),
        "schedule": "constant",
    }
    whole = trainer_for(small_splits, tmp_path, "whole", **changes).fit()
    with pytest.raises(KeyboardInterrupt):
        trainer_for(small_splits, tmp_path, "stopped", **changes).fit(Stop(2))
    assert_same_run(trainer_for(small_splits, tmp_path, "stopped", resume=True, **changes).fit(), whole)
    assert (tmp_path / "stopped/checkpoints/history").exists() == (length == LARGE)


def test_a_history_larger_than_the_memory_is_refused(
    small_splits: Splits, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(memory, "available_memory", lambda: 2**20)
    mentor = dataclasses.replace(MENTOR, mentor_features=("loss", "history"), history_length=LARGE)
    with pytest.raises(UserError, match=r"the samples' past losses need .* give a smaller --history-length"):
        trainer_for(small_splits, tmp_path, "large", mentor=mentor).fit()


def test_ledger_rows_past_the_checkpoint_are_cut(finished: Outcome, small_splits: Splits, tmp_path: Path) -> None:
    """A run that dies between its ledger rows and its checkpoint has written rows that it will write again."""
    with pytest.raises(KeyboardInterrupt):
        trainer_for(small_splits, tmp_path, "died").fit(Stop(2))
    for newest in (tmp_path / "died/checkpoints").glob(f"step-{10:012d}-*.pt"):
        newest.unlink()
    assert f"step-{5:012d}-{10:012d}-rank-0000.parquet" in names_in(tmp_path / "died/ledger")
    assert_same_run(trainer_for(small_splits, tmp_path, "died", resume=True).fit(), finished)


@pytest.mark.parametrize("first", ["memory", "arrow"])
def test_a_run_goes_on_with_another_backend(
    finished: Outcome, small_splits: Splits, tmp_path: Path, first: str
) -> None:
    """What holds the data is no part of what a run is: the same bits, and each sample once an epoch."""
    splits = {"memory": small_splits, "arrow": mapped_splits(small_splits, tmp_path)}
    second = "arrow" if first == "memory" else "memory"
    with pytest.raises(KeyboardInterrupt):
        trainer_for(splits[first], tmp_path, "stopped", record={"data_backend": first}).fit(Stop(2))
    trainer = trainer_for(splits[second], tmp_path, "stopped", record={"data_backend": second}, resume=True)
    outcome = trainer.fit()
    assert_same_run(outcome, finished)
    assert_one_row_per_sample_and_epoch(outcome.ledger(), small_splits)


def test_seconds_of_training_add_up_over_a_stop(small_splits: Splits, tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        trainer_for(small_splits, tmp_path, "stopped").fit(Stop(2))
    outcome = trainer_for(small_splits, tmp_path, "stopped", resume=True).fit()
    seconds = [row["train_seconds"] or 0.0 for row in outcome.metrics]
    assert seconds == sorted(seconds)
    assert outcome.result["train_seconds"] >= seconds[-1]


def test_a_finished_run_can_be_resumed_for_nothing(small_splits: Splits, tmp_path: Path) -> None:
    first = trainer_for(small_splits, tmp_path, "done", epochs=2).fit()
    assert_same_run(trainer_for(small_splits, tmp_path, "done", epochs=2, resume=True).fit(), first)


def test_a_resumed_run_is_not_done_until_it_is(small_splits: Splits, tmp_path: Path) -> None:
    """result.json says that a run is done; the one of before goes when the run goes on."""
    trainer_for(small_splits, tmp_path, "longer", epochs=1).fit()
    with pytest.raises(KeyboardInterrupt):
        trainer_for(small_splits, tmp_path, "longer", epochs=3, resume=True).fit(Stop(1))
    assert not (tmp_path / "longer" / "result.json").exists()


def test_there_is_no_result_while_a_run_goes_on(small_splits: Splits, tmp_path: Path) -> None:
    there: list[bool] = []
    outcome = trainer_for(small_splits, tmp_path, "going").fit(
        lambda _: there.append((tmp_path / "going" / "result.json").exists())
    )
    assert len(there) >= EPOCHS + 2
    assert not any(there)
    assert (Path(outcome.path) / "result.json").exists()


def test_an_existing_run_is_refused_and_nothing_in_it_changes(small_splits: Splits, tmp_path: Path) -> None:
    trainer_for(small_splits, tmp_path, "mine", epochs=1).fit()
    before = files_of(tmp_path / "mine")
    with pytest.raises(UserError) as raised:
        trainer_for(small_splits, tmp_path, "mine", epochs=1, seed=1).fit()
    assert str(raised.value) == (
        f"run {tmp_path}/mine is there already; give it another --run-name, or go on with it: --resume"
    )
    assert files_of(tmp_path / "mine") == before


def test_a_run_does_not_go_on_under_other_settings(small_splits: Splits, tmp_path: Path) -> None:
    trainer_for(small_splits, tmp_path, "mine", epochs=1).fit()
    before = files_of(tmp_path / "mine")
    with pytest.raises(UserError) as raised:
        trainer_for(small_splits, tmp_path, "mine", epochs=2, seed=1, resume=True).fit()
    assert str(raised.value) == (
        f"seed is 1, but run {tmp_path}/mine was started with 0; go on with --config {tmp_path}/mine/config.toml, "
        "or start another run"
    )
    assert files_of(tmp_path / "mine") == before


def test_a_folder_that_is_no_run_is_left_alone(small_splits: Splits, tmp_path: Path) -> None:
    (tmp_path / "precious" / "ledger").mkdir(parents=True)
    (tmp_path / "precious" / "result.json").write_text("mine")
    before = files_of(tmp_path / "precious")
    with pytest.raises(UserError, match=r"precious is not a run: it has no config.toml"):
        trainer_for(small_splits, tmp_path, "precious", resume=True).fit()
    assert files_of(tmp_path / "precious") == before


def test_a_run_does_not_go_on_with_fewer_epochs(small_splits: Splits, tmp_path: Path) -> None:
    trainer_for(small_splits, tmp_path, "mine", epochs=2).fit()
    with pytest.raises(UserError, match=r"epochs is 1, but run .* was started with 2"):
        trainer_for(small_splits, tmp_path, "mine", epochs=1, resume=True).fit()


@pytest.mark.parametrize("place", ["afile", "afile/sub", "foo://x"])
def test_a_storage_path_that_cannot_be_used(small_splits: Splits, tmp_path: Path, place: str) -> None:
    (tmp_path / "afile").write_text("")
    storage: Any = place if "://" in place else tmp_path / place
    with pytest.raises(UserError, match=r"the run directory .* cannot be used .*; check --storage-path"):
        trainer_for(small_splits, storage, "run").fit()


UNPACKED = "session_1/runtime_resources/working_dir_files/_ray_pkg_0a1b"


def test_a_job_does_not_write_into_rays_copy_of_what_it_uploaded(
    small_splits: Splits, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """There a job begins, and Ray removes it some time after the job's end."""
    here = tmp_path / UNPACKED
    here.mkdir(parents=True)
    monkeypatch.chdir(here)
    with pytest.raises(UserError) as raised:
        trainer_for(small_splits, Path("runs"), "mine")
    assert str(raised.value) == (
        f"{here}/runs/mine lies in Ray's copy of what this job uploaded, which Ray removes; give --storage-path a "
        "folder that all machines see, e.g. /results, or s3://BUCKET/FOLDER"
    )
    assert list(here.iterdir()) == []
    trainer_for(small_splits, tmp_path / "results", "mine")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"schedule": "step"}, "unknown schedule 'step'; valid: cosine, constant"),
        (
            {"augment": "fli"},
            "unknown augment 'fli'; valid: none, flip-shift, flip-crop, randaugment, trivialaugment, ",
        ),
        ({"augment": "flip-shift"}, "augment is 'flip-shift', but it needs images"),
        ({"gradient_rule": "surgery"}, "unknown gradient_rule 'surgery'; valid: none, pcgrad, gradient-vaccine"),
        ({"loss": "gcee"}, "unknown loss 'gcee'; valid: cross-entropy, gce"),
        ({"epochs": 0}, "epochs is 0, but it must be at least 1"),
        ({"batch_size": 0}, "batch_size is 0, but it must be at least 1"),
        ({"seed": 2**64}, "it must lie between"),
        ({"student": torch.nn.Linear(8, 3)}, "student is a module, but it must be a callable"),
        (
            {"optimizer": torch.optim.AdamW(torch.nn.Linear(8, 3).parameters())},
            r"optimizer is AdamW\(\.\.\.\), but it must be a callable .* e.g. lambda params: AdamW\(params, lr=1e-3\)",
        ),
    ],
)
def test_arguments_that_cannot_be(small_splits: Splits, tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        trainer_for(small_splits, tmp_path, "no", **changes)


def test_the_oracle_without_the_truth_is_refused_at_once(small_splits: Splits, tmp_path: Path) -> None:
    blind = dataclasses.replace(small_splits, train=small_splits.train.with_labels(small_splits.train.labels, None))
    with pytest.raises(UserError, match="the true labels of this data are not known"):
        trainer_for(blind, tmp_path, "blind", curriculum=CurriculumConfig(method="oracle"))


def test_an_optimizer_that_no_mentor_can_learn_through_is_refused_at_once(small_splits: Splits, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="optimizer is LBFGS, but its step needs a closure; valid: SGD, Adam, AdamW"):
        trainer_for(small_splits, tmp_path, "lbfgs", optimizer=torch.optim.LBFGS)


def test_a_run_that_is_not_there_cannot_be_resumed(small_splits: Splits, tmp_path: Path) -> None:
    with pytest.raises(UserError) as raised:
        trainer_for(small_splits, tmp_path, "gone", resume=True).fit()
    assert str(raised.value) == (f"there is no run {tmp_path}/gone to resume; check --run-name and --storage-path")
    assert not (tmp_path / "gone").exists()


@pytest.mark.parametrize("content", [b"", b"not a checkpoint", None])
def test_a_damaged_checkpoint_is_passed_over(
    content: bytes | None, finished: Outcome, small_splits: Splits, tmp_path: Path
) -> None:
    """The one before it is taken, and this is said."""
    with pytest.raises(KeyboardInterrupt):
        trainer_for(small_splits, tmp_path, "torn").fit(Stop(2))
    older, newest = sorted((tmp_path / "torn" / "checkpoints").glob("*.pt"))
    newest.write_bytes(newest.read_bytes()[:-100] if content is None else content)
    rows: list[dict[str, Any]] = []
    assert_same_run(trainer_for(small_splits, tmp_path, "torn", resume=True).fit(rows.append), finished)
    note, from_where = [row["text"] for row in rows if row["kind"] == "note"]
    assert from_where.startswith(f"going on after step {int(older.name[5:17])} of {STEPS}, in epoch ")
    assert note.startswith(f"checkpoint {newest} cannot be read (")
    assert note.endswith(f"; going on from {older}")


def test_a_run_whose_last_checkpoint_is_lost_has_no_result(
    finished: Outcome, small_splits: Splits, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not that of a step before: it goes on from there."""
    trainer = trainer_for(small_splits, tmp_path, "torn")
    train = Place.train_here

    def then_damaged(*given: Any) -> Any:
        result = train(*given)
        max((tmp_path / "torn" / "checkpoints").glob("*.pt")).write_bytes(b"not a checkpoint")
        return result

    with monkeypatch.context() as patch:
        patch.setattr(Place, "train_here", then_damaged)
        with pytest.raises(UserError) as raised:
            trainer.fit()
    newest = max((tmp_path / "torn" / "checkpoints").glob("*.pt"))
    assert str(raised.value).startswith(f"checkpoint {newest} cannot be read (")
    assert str(raised.value).endswith("; the end of the run is lost: go on with --resume")
    assert not (tmp_path / "torn" / "result.json").exists()
    assert_same_run(trainer_for(small_splits, tmp_path, "torn", resume=True).fit(), finished)


def test_a_damaged_checkpoint_does_not_push_a_good_one_out(
    finished: Outcome, small_splits: Splits, tmp_path: Path
) -> None:
    """Where one is kept, it is the one that was written last, though the damaged one bears a higher step."""
    with pytest.raises(KeyboardInterrupt):
        trainer_for(small_splits, tmp_path, "torn").fit(Stop(2))
    max((tmp_path / "torn" / "checkpoints").glob("*.pt")).write_bytes(b"not a checkpoint")
    one = ray.train.CheckpointConfig(num_to_keep=1)
    place = ray.train.RunConfig(name="torn", storage_path=str(tmp_path), checkpoint_config=one)
    changes: dict[str, Any] = {"run_config": place, "checkpoint_steps": 1, "resume": True}
    stopped = trainer_for(small_splits, tmp_path, "torn", optimizer=interrupted(3), **changes)
    with pytest.raises(KeyboardInterrupt):
        stopped.fit()
    rows: list[dict[str, Any]] = []
    assert_same_run(trainer_for(small_splits, tmp_path, "torn", **changes).fit(rows.append), finished)
    (started,) = [row for row in rows if row["kind"] == "started"]
    assert started["progress"] == 7 / STEPS


def test_where_every_checkpoint_is_damaged_nothing_goes_on(small_splits: Splits, tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        trainer_for(small_splits, tmp_path, "torn").fit(Stop(2))
    for file in (tmp_path / "torn" / "checkpoints").glob("*.pt"):
        file.write_bytes(b"not a checkpoint")
    before = files_of(tmp_path / "torn")
    with pytest.raises(
        UserError, match=r"^checkpoint .*/step-0+10-.*\.pt cannot be read .*; checkpoint .*/step-0+5-.*\.pt .*"
    ):
        trainer_for(small_splits, tmp_path, "torn", resume=True).fit()
    after = files_of(tmp_path / "torn")
    assert {**after, "attempt": b""} == {**before, "attempt": b""}


def test_a_loss_that_is_not_finite_stops_the_run_before_the_update(small_splits: Splits, tmp_path: Path) -> None:
    explosive = functools.partial(make_optimizer, config=StudentConfig(learning_rate=1e12))
    with pytest.raises(NonFiniteLossError) as raised:
        trainer_for(small_splits, tmp_path, "exploded", optimizer=explosive).fit()
    text = str(raised.value)
    assert text.startswith("the loss is not finite at step ")
    assert text.endswith("the student was not updated. Lower the learning rate, or look at these samples' inputs")
    ids = text.split("(sample ids ")[1].split(")")[0].removesuffix(", ...")
    assert set(map(int, ids.split(", "))) <= set(small_splits.train.ids.tolist())
    assert names_in(tmp_path / "exploded") == {"config.toml", "classes.json", "attempt", "report.html"}
    assert names_in(tmp_path / "exploded/ledger") == {"_files.json"}
    assert not list((tmp_path / "exploded/checkpoints").glob("*.pt"))


# Mistakes that are known before anything runs


def test_a_refused_run_leaves_nothing_behind(small_splits: Splits, tmp_path: Path) -> None:
    trainer = trainer_for(small_splits, tmp_path, "wide", workers=999)
    with pytest.raises(UserError) as raised:
        trainer.fit()
    assert str(raised.value).startswith("the workers need 999 CPUs, but there are ")
    assert str(raised.value).endswith("; give fewer --workers")
    assert not ray.is_initialized()
    assert not (tmp_path / "wide").exists(), "the name must be free for the next try"


def test_gpus_that_are_not_there_are_refused(
    small_splits: Splits, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    scaling = ray.train.ScalingConfig(num_workers=1, use_gpu=True)
    with pytest.raises(UserError) as raised:
        trainer_for(small_splits, tmp_path, "gpu", scaling_config=scaling).fit()
    assert str(raised.value) == "the workers need 1 GPUs, but there are 0; give --no-gpu"


def test_an_unknown_method_is_refused(small_splits: Splits, tmp_path: Path) -> None:
    with pytest.raises(UserError) as raised:
        trainer_for(small_splits, tmp_path, "odd", curriculum=CurriculumConfig(method="odd"))
    assert str(raised.value).startswith("unknown method 'odd'; valid: mentornet, mentornet-pd, uniform, ")


def test_params_that_are_not_there_are_refused(small_splits: Splits, tmp_path: Path) -> None:
    mentor = dataclasses.replace(MENTOR, mentor_params="no.npz")
    for method in ("mentornet-pd", "mentornet-refined"):
        with pytest.raises(UserError, match=r"^no\.npz does not exist; give the path of published MentorNet params"):
            trainer_for(small_splits, tmp_path, "pd", mentor=mentor, curriculum=CurriculumConfig(method=method))


def test_a_mentor_that_cannot_be_made_is_refused(small_splits: Splits, tmp_path: Path) -> None:
    with pytest.raises(UserError) as raised:
        trainer_for(small_splits, tmp_path, "twice", mentor=MentorConfig(mentor_features=("loss", "loss")))
    assert str(raised.value) == "features is ('loss', 'loss'), but a feature may be named only once; drop the repeats"


def test_the_oracle_needs_the_truth(small_splits: Splits, tmp_path: Path) -> None:
    bare = dataclasses.replace(small_splits.train, true_labels=None)
    with pytest.raises(UserError) as raised:
        trainer_for(small_splits, tmp_path, "oracle", data=bare, curriculum=CurriculumConfig(method="oracle")).fit()
    assert str(raised.value) == (
        "method is 'oracle', but the true labels of this data are not known; add noise, name a "
        "true_label_column, or choose another method"
    )
