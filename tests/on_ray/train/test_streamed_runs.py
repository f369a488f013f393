"""Runs whose training samples stay in Parquet end with the bits of one that has them in memory, whatever happens."""

from __future__ import annotations

import dataclasses
import functools
import sys
from pathlib import Path
from typing import Any

import accidents
import numpy as np
import pyarrow as pa
import pytest
import ray
import ray.data
import stored_splits
from accidents import Accident, AtStep
from rich.console import Console
from small_runs import STEPS, assert_one_row_per_sample_and_epoch, assert_same_run, trainer_for
from stored_splits import InParts, stored

from ray_mentor import TrainConfig, train
from ray_mentor.config import DataConfig, RunSettings
from ray_mentor.config.file import to_toml
from ray_mentor.data import Splits
from ray_mentor.data.samples.rows import Rows
from ray_mentor.data.storage.stored import order_of
from ray_mentor.errors import UserError
from ray_mentor.on_ray.train.stream import RayDataSpread
from ray_mentor.on_ray.train.trainer import CurriculumTrainer
from ray_mentor.run.checkpoint.resume import check_same_run
from ray_mentor.run.directory import CONFIG, RunDirectory
from ray_mentor.run.outcome import Outcome

ray.cloudpickle.register_pickle_by_value(accidents)  # type: ignore[attr-defined]
ray.cloudpickle.register_pickle_by_value(stored_splits)  # type: ignore[attr-defined]
ray.cloudpickle.register_pickle_by_value(sys.modules[__name__])  # type: ignore[attr-defined]


@pytest.fixture(scope="module")
def streamed(small_splits: Splits, tmp_path_factory: pytest.TempPathFactory) -> Splits:
    return stored(small_splits, tmp_path_factory.mktemp("parquet"))


def in_order_of(trainer: CurriculumTrainer, order: Any) -> CurriculumTrainer:
    trainer._job = dataclasses.replace(trainer._job, order=order)
    return trainer


@pytest.fixture(scope="module")
def held(small_splits: Splits, streamed: Splits, tmp_path_factory: pytest.TempPathFactory) -> Outcome:
    """One process, samples in memory, in the order of those that are streamed."""
    trainer = trainer_for(small_splits, tmp_path_factory.mktemp("runs"), "held")
    return in_order_of(trainer, order_of(streamed.train)).fit()


def test_in_one_process(streamed: Splits, held: Outcome, tmp_path: Path) -> None:
    outcome = trainer_for(streamed, tmp_path, "streamed").fit()
    assert len(order_of(streamed.train).windows(0, 0)) > 3
    assert_same_run(outcome, held)
    assert_one_row_per_sample_and_epoch(outcome.ledger(), streamed)


@pytest.mark.parametrize("step", [3, STEPS // 2 + 2])
def test_one_process_that_fails_in_the_middle_of_an_epoch_goes_on(
    streamed: Splits, held: Outcome, tmp_path: Path, step: int
) -> None:
    def fail() -> None:
        raise OSError("the power went")

    changes = {"checkpoint_steps": 2, "max_failures": 0}
    with pytest.raises(Exception, match="the power went"):
        trainer_for(streamed, tmp_path, "run", **changes, optimizer=functools.partial(failing, step, fail)).fit()
    assert_same_run(trainer_for(streamed, tmp_path, "run", **changes, resume=True).fit(), held)


def failing(step: int, fail: Any, params: Any) -> Any:
    optimizer = accidents.Slow(0)(params)
    left = iter(range(step))
    optimizer.register_step_pre_hook(lambda *_: None if next(left, None) is not None else fail())
    return optimizer


@pytest.mark.parametrize(("was", "now"), [("memory", "ray"), ("ray", "arrow")])
def test_a_run_does_not_go_on_in_another_order(tmp_path: Path, was: str, now: str) -> None:
    directory = RunDirectory(str(tmp_path / "run"))
    directory.create()
    directory.write(CONFIG, to_toml({"epochs": 1, "data_backend": was}).encode())
    with pytest.raises(UserError, match=f"data_backend is '{now}', but .* was started with '{was}'.*another order"):
        check_same_run({"epochs": 1, "data_backend": now}, directory)


def test_a_whole_run_from_its_settings(small_splits: Splits, tmp_path: Path) -> None:
    stored(small_splits, tmp_path)
    data = DataConfig(
        data=str(tmp_path), id_column="id", data_backend="ray", shuffle_rows=40, meta_size=9, data_cache=str(tmp_path)
    )
    run = RunSettings(workers=0, epochs=2, storage_path=str(tmp_path / "runs"), run_name="run")
    ledger = train(TrainConfig(data=data, run=run), console=Console(quiet=True)).ledger()
    (count,) = set(ledger.group_by("sample_id").aggregate([([], "count_all")])["count_all"].to_pylist())
    assert count == 2
    assert set(ledger["sample_id"].to_pylist()) <= set(small_splits.train.ids.tolist())


@dataclasses.dataclass(frozen=True)
class Squares:
    """Work whose results are told apart, and that fails at one part."""

    bad: int = -1

    def __call__(self, rows: Rows) -> pa.Table:
        if self.bad in rows:
            raise UserError(f"row {self.bad} is broken")
        return pa.table({"row": rows, "square": np.square(rows)})


@pytest.mark.slow
@pytest.mark.usefixtures("local_ray")
class TestOnRay:
    def test_results_come_in_the_order_of_their_parts(self) -> None:
        parts = [np.arange(n * n, (n + 1) ** 2) for n in range(300)]  # more than one pipeline's
        found = pa.concat_tables(RayDataSpread(2)(Squares(), iter(parts), 10_000))
        np.testing.assert_array_equal(found["row"], np.concatenate(parts))
        np.testing.assert_array_equal(found["square"], np.square(np.concatenate(parts)))

    def test_an_error_of_the_users_is_one(self) -> None:
        parts = [np.arange(n, n + 2) for n in range(0, 10, 2)]
        with pytest.raises(UserError, match=r"^row 5 is broken$"):
            list(RayDataSpread(1)(Squares(5), parts, 100))

    def test_two_workers_hold_all_cpus_and_one_dies(
        self, streamed: Splits, undisturbed: Outcome, tmp_path: Path
    ) -> None:
        """The stream begins again in the middle of an epoch; its tasks run beside workers that leave no CPU free."""
        accident = Accident(str(tmp_path), "rank 1 dies").arm()
        rows: list[dict[str, Any]] = []
        trainer = trainer_for(
            streamed, tmp_path, "streamed", workers=2, optimizer=AtStep(((1, 8, accident),)), checkpoint_steps=3
        )
        outcome = in_order_of(trainer, InParts(len(streamed.train))).fit(rows.append)
        assert accident.happened
        begun = [row["progress"] for row in rows if row["kind"] == "started"]
        assert begun == [0.0, 6 / STEPS]
        assert_same_run(outcome, undisturbed)
        assert_one_row_per_sample_and_epoch(outcome.ledger(), streamed)
