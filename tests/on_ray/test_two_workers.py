"""Runs of two workers on a real Ray. A start takes many seconds, so few runs serve all tests."""

from __future__ import annotations

import collections
import dataclasses
import json
import signal
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import ray
import ray.train
import ray.util.state
import torch
from small_runs import (
    EPOCHS,
    INTERVAL,
    MENTOR,
    STEPS,
    assert_one_row_per_sample_and_epoch,
    assert_same_run,
    in_order,
    trainer_for,
)

from ray_mentor.config import StudentConfig
from ray_mentor.core.optimizers import make_optimizer
from ray_mentor.data import Splits
from ray_mentor.errors import NonFiniteLossError, UserError
from ray_mentor.on_ray import trainer as trainer_module
from ray_mentor.on_ray.mentor_actor import MentorActor
from ray_mentor.on_ray.outcome import Outcome
from ray_mentor.on_ray.progress import ProgressBoard
from ray_mentor.on_ray.watch import watched

pytestmark = pytest.mark.usefixtures("local_ray")

OURS = ("MentorActor", "Counting", "ProgressBoard")

ON_CTRL_C = signal.getsignal(signal.SIGINT)  # a shell's background job ignores it


@pytest.fixture(scope="module")
def storage(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("runs")


@pytest.fixture(scope="module")
def rows() -> list[dict[str, Any]]:
    """What the run with actor scoring showed."""
    return []


@pytest.fixture(scope="module")
def by_actor(small_splits: Splits, storage: Path, rows: list[dict[str, Any]]) -> Outcome:
    """A run whose actor scores, and notes each call in a file."""
    calls = str(storage / "calls")

    class Counting(MentorActor):
        def score(self, *arguments: Any) -> Any:
            return self._noted("score", super().score(*arguments))

        def learn(self, *arguments: Any) -> Any:
            return self._noted("learn", super().learn(*arguments))

        def load(self, *arguments: Any) -> Any:
            return self._noted("load", super().load(*arguments))

        def _noted(self, name: str, reply: Any) -> Any:
            with open(calls, "a") as file:
                print(name, file=file)
            return reply

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(trainer_module, "MentorActor", Counting)
        return trainer_for(small_splits, storage, "by-actor", workers=2).fit(rows.append)


@pytest.fixture(scope="module")
def by_replica(small_splits: Splits, storage: Path) -> Outcome:
    mentor = dataclasses.replace(MENTOR, scoring="replica")
    return trainer_for(small_splits, storage, "by-replica", workers=2, mentor=mentor).fit()


@pytest.fixture(scope="module")
def alone(small_splits: Splits, storage: Path) -> Outcome:
    return trainer_for(small_splits, storage, "alone").fit()


def test_there_is_one_call_per_step_and_no_other(by_actor: Outcome, storage: Path) -> None:
    """One score a step, made by rank 0 for all, and one learn a meta update; nothing is handed over or repeated."""
    calls = collections.Counter((storage / "calls").read_text().split())
    assert calls == {"score": STEPS, "learn": STEPS // INTERVAL}


def test_actor_and_replica_scoring_give_the_same_bits(by_actor: Outcome, by_replica: Outcome) -> None:
    assert_same_run(by_replica, by_actor)


def test_two_workers_give_what_one_process_gives(by_actor: Outcome, alone: Outcome) -> None:
    """Up to rounding: two ranks add their gradients in another order, 1e-7 a step, and 20 steps carry it on."""
    for name, value in alone.student_state.items():
        torch.testing.assert_close(by_actor.student_state[name], value, rtol=1e-4, atol=1e-5)
    for ours, theirs in zip(by_actor.metrics, alone.metrics, strict=True):
        same = ("epoch", "steps", "meta_updates", "test_accuracy", "validation_accuracy", "learning_rate")
        assert [ours[name] for name in same] == [theirs[name] for name in same]
        assert ours["meta_loss"] == pytest.approx(theirs["meta_loss"], rel=1e-4)
    one, two = in_order(alone.ledger()), in_order(by_actor.ledger())
    for name in ("sample_id", "epoch", "step", "given_label", "true_label"):
        assert two[name].equals(one[name]), name
    for name in ("loss", "scored_weight", "sample_weight", "influence"):
        found, expected = (np.asarray(table[name].combine_chunks().to_numpy(False)) for table in (two, one))
        np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-5, err_msg=name)


def test_the_ledger_of_two_ranks_has_a_row_per_sample_and_epoch(by_actor: Outcome, small_splits: Splits) -> None:
    assert_one_row_per_sample_and_epoch(by_actor.ledger(), small_splits)
    files = {file.name for file in (Path(by_actor.path) / "ledger").iterdir()}
    assert {name.split("rank-")[1] for name in files} == {"0000.parquet", "0001.parquet"}


def test_the_run_directory_of_two_workers(by_actor: Outcome, storage: Path) -> None:
    """Our files, and the two newest checkpoints among them; Ray Train adds nothing that is seen."""
    names = {entry.name for entry in Path(by_actor.path).iterdir() if not entry.name.startswith(".")}
    assert names == {"config.toml", "result.json", "metrics.csv", "attempt", "ledger", "checkpoints"}
    assert len(list((Path(by_actor.path) / "checkpoints").iterdir())) == 2
    result = json.loads((Path(by_actor.path) / "result.json").read_text())
    assert result == by_actor.result
    assert (result["steps"], result["meta_updates"], result["workers"]) == (STEPS, STEPS // INTERVAL, 2)


def test_rows_are_shown_while_the_run_goes_on(by_actor: Outcome, rows: list[dict[str, Any]]) -> None:
    assert [row["kind"] for row in rows if row["kind"] != "step"] == ["started", *["epoch"] * EPOCHS, "ended"]
    assert rows[1:-1] == [{"kind": "epoch", **row} for row in by_actor.metrics]


def test_a_bad_loss_stops_both_workers_and_the_run_goes_on_from_its_checkpoint(
    by_actor: Outcome, small_splits: Splits, storage: Path
) -> None:
    """A student that goes bad in its third epoch: an error that names step and samples. Then, mended, the same run."""
    broken = storage / "broken"
    broken.touch()
    optimizer = breaking(str(broken), after_steps=12)
    with pytest.raises(NonFiniteLossError) as raised:
        trainer_for(small_splits, storage, "broke", workers=2, optimizer=optimizer).fit()
    text = str(raised.value)
    assert text.startswith("the loss is not finite at step 12 for 30 of 30 samples (sample ids ")
    assert "Traceback" not in text
    ids = map(int, text.split("sample ids ")[1].split(", ...")[0].split(", "))
    assert set(ids) <= set(small_splits.train.ids.tolist())
    assert not (storage / "broke" / "result.json").exists()

    broken.unlink()
    shown: list[dict[str, Any]] = []
    outcome = trainer_for(small_splits, storage, "broke", workers=2, optimizer=optimizer, resume=True).fit(shown.append)
    assert [row["epoch"] for row in shown if row["kind"] == "epoch"] == [2, 3]
    assert_same_run(outcome, by_actor)
    assert_one_row_per_sample_and_epoch(outcome.ledger(), small_splits)


def breaking(broken: str, after_steps: int) -> Any:
    """An optimizer's maker: while a file is there, all params are lost after so many steps."""

    def make(params: Any) -> torch.optim.Optimizer:
        optimizer = make_optimizer(params, StudentConfig(learning_rate=0.02))
        steps = 0

        def count(*_: Any) -> None:
            nonlocal steps
            steps += 1
            if steps == after_steps and Path(broken).exists():
                for param in optimizer.param_groups[0]["params"]:
                    param.data.fill_(torch.nan)

        optimizer.register_step_post_hook(count)
        return optimizer

    return make


def test_ctrl_c_means_what_it_meant_before(by_actor: Outcome) -> None:
    assert signal.getsignal(signal.SIGINT) is ON_CTRL_C


def test_more_workers_than_the_cluster_has_are_refused(small_splits: Splits, storage: Path) -> None:
    with pytest.raises(UserError) as raised:
        trainer_for(small_splits, storage, "wide", workers=3).fit()
    assert str(raised.value) == "the workers need 3 CPUs, but there are 2; give fewer --workers"
    assert not (storage / "wide").exists()


def test_a_board_that_died_does_not_end_the_run() -> None:
    board: Any = ray.remote(ProgressBoard).options(num_cpus=0).remote()
    seen: list[dict[str, Any]] = []
    with watched(board, seen.append):
        ray.get(board.post.remote({"kind": "started"}))
        ray.kill(board)
        board.post.remote({"kind": "ended"})
        time.sleep(0.5)
    assert seen in ([], [{"kind": "started"}])


def test_no_actor_of_ours_outlives_its_run(by_actor: Outcome, by_replica: Outcome) -> None:
    """Runs on a Ray of the user's own must leave it as they found it; after failed runs too."""
    deadline = time.monotonic() + 60
    while left := actors_of_ours():
        assert time.monotonic() < deadline, [(actor.class_name, actor.state) for actor in left]
        time.sleep(0.5)


def actors_of_ours() -> list[Any]:
    actors = ray.util.state.list_actors(address=ray.get_runtime_context().gcs_address, limit=1000)
    return [actor for actor in actors if actor.class_name in OURS and actor.state != "DEAD"]


def test_all_cpus_are_free_again(by_actor: Outcome) -> None:
    deadline = time.monotonic() + 60
    while ray.available_resources().get("CPU") != 2.0:
        assert time.monotonic() < deadline, ray.available_resources()
        time.sleep(0.5)
