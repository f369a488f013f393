"""A comparison that goes on believes a run that is there only if it is the run that it would make now."""

from __future__ import annotations

import csv
import functools
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from small_runs import make_small_splits, trainer_for

from ray_mentor.comparison.cells import Plan, asked_methods, noise_of, plan_of
from ray_mentor.comparison.finished import finished
from ray_mentor.comparison.measured import Place, curves_of, rows_of
from ray_mentor.config import TrainConfig
from ray_mentor.config.compare import CompareSettings
from ray_mentor.data.splits.splits import prepare
from ray_mentor.errors import UserError
from ray_mentor.on_ray.train.trainer import CurriculumTrainer
from ray_mentor.on_ray.tune.resumed import digest
from ray_mentor.run.directory import RunDirectory
from ray_mentor.students import MLP
from ray_mentor.training import make_trainer

Make = Callable[[TrainConfig], CurriculumTrainer]
SETTINGS = CompareSettings(("uniform-trusted",), seeds=2)


def write_table(path: Path, wrong: int = 0) -> None:
    """Two classes along a line; the first labels are the other ones."""
    x = np.random.default_rng(0).normal(size=(200, 2))
    labels = (x[:, 0] > 0).astype(np.int64)
    labels[:wrong] = 1 - labels[:wrong]
    pq.write_table(pa.table({"a": x[:, 0], "b": x[:, 1], "label": labels}), path)


def described(folder: Path, **changes: object) -> TrainConfig:
    return TrainConfig().changed(
        **{
            **{"data": f"{folder}/table.parquet", "noise": "symmetric:0.2", "meta_size": 20, "epochs": 1, "workers": 0},
            **{"storage_path": str(folder), **changes},
        }
    )


def from_settings(config: TrainConfig) -> CurriculumTrainer:
    return make_trainer(config, prepare(config.data, config.run.seed))


def from_a_function(config: TrainConfig, hidden: int = 16, first: int = 0) -> CurriculumTrainer:
    splits = make_small_splits()
    test = splits.test
    assert test is not None
    run = config.run
    return trainer_for(
        splits.__class__(splits.train, None, splits.meta, test.select(np.arange(first, len(test))), ()),
        Path(run.storage_path),
        str(run.run_name),
        student=functools.partial(MLP, 8, 3, (hidden,)),
        curriculum=config.curriculum,
        epochs=run.epochs,
        seed=run.seed,
    )


def made(base: TrainConfig, make: Make) -> Plan:
    return plan_of([base], asked_methods(SETTINGS, {}), SETTINGS, make, noise_of)


def run_all(base: TrainConfig, folder: Path, make: Make) -> RunDirectory:
    """As a comparison leaves them."""
    for cell in made(base, make).cells:
        name = digest(cell.config)
        make(cell.config.changed(storage_path=f"{folder}/runs", run_name=name)).fit()
    return RunDirectory(str(folder))


def believed(base: TrainConfig, directory: RunDirectory, make: Make) -> set[str]:
    plan = made(base, make)
    found = finished(plan.cells, directory, plan.identities, as_described=make is from_settings)
    return {f"{cell.method} {cell.seed}" for cell in plan.cells if digest(cell.config) in found}


ALL = {"uniform-trusted 0", "uniform-trusted 1", "oracle 0", "oracle 1"}


def test_data_that_were_written_anew(tmp_path: Path) -> None:
    write_table(tmp_path / "table.parquet")
    base = described(tmp_path)
    directory = run_all(base, tmp_path, from_settings)
    assert believed(base, directory, from_settings) == ALL
    assert believed(described(tmp_path, epochs=2), directory, from_settings) == set()
    write_table(tmp_path / "table.parquet", wrong=30)
    with pytest.raises(UserError, match=r"the training samples and the .*trusted samples .* are others than now"):
        believed(base, directory, from_settings)


def test_a_function_that_makes_something_else(tmp_path: Path) -> None:
    base = described(tmp_path, learning_rate=0.08)
    directory = run_all(base, tmp_path, from_a_function)
    assert believed(base, directory, from_a_function) == ALL
    with pytest.raises(UserError, match=r"has body\.1\.weight \(16, 8\), but here it has \(17, 8\); go on with the"):
        believed(base, directory, functools.partial(from_a_function, hidden=17))
    with pytest.raises(UserError, match=r"the test samples of the checkpoints in .* are others than now"):
        believed(base, directory, functools.partial(from_a_function, first=5))


def test_a_row_says_what_its_run_does(tmp_path: Path) -> None:
    write_table(tmp_path / "table.parquet", wrong=30)
    base = described(tmp_path, epochs=3, noise="symmetric:0.3")
    directory = run_all(base, tmp_path, from_settings)
    plan = made(base, from_settings)
    found = finished(plan.cells, directory, plan.identities, as_described=True)
    learnt: list[bool] = []
    places: list[Place] = [found[digest(cell.config)] for cell in plan.cells]
    for cell, place, row in zip(plan.cells, places, rows_of(plan.cells, places, plan.params), strict=True):
        metrics = list(csv.DictReader((Path(place.path) / "metrics.csv").read_text().splitlines()))
        result = json.loads((Path(place.path) / "result.json").read_text())
        assert (row["method"], row["seed"], row["path"], row["error"]) == (cell.method, cell.seed, place.path, None)
        assert row["test_accuracy"] == pytest.approx(float(metrics[-1]["test_accuracy"]))
        learnt.append(metrics[0]["test_accuracy"] != metrics[-1]["test_accuracy"])
        assert (row["test_accuracy_selected"], row["kept_epoch"]) == (result["test_accuracy"], result["kept_epoch"])
        assert (row["noise_auroc"], row["train_seconds"]) == (result["noise_auroc"], result["train_seconds"])
    assert any(learnt), "else it would say little"
    curve = curves_of(plan.cells[:1], places[:1])
    assert [row["epoch"] for row in curve] == [1, 2, 3]
