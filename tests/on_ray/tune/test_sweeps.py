"""Sweeps on a real Ray: what they find, what becomes of trials that crash, and that nothing of any trial is left."""

from __future__ import annotations

import dataclasses
import functools
import json
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import ray
import ray.util
import ray.util.state
from accidents import Accident, AtStep
from ray import tune
from small_runs import MENTOR, STEPS, assert_same_bits, trainer_for
from small_sweeps import BASE, EPOCHS, MakeSmall, having, plan_for

from ray_mentor.config import TrainConfig
from ray_mentor.config.file import read_config
from ray_mentor.config.sweep import SweepSettings
from ray_mentor.core.student.optimizers import make_optimizer
from ray_mentor.data import Splits
from ray_mentor.on_ray.tune.search import make_scheduler, make_search
from ray_mentor.on_ray.tune.spaces import space_of
from ray_mentor.on_ray.tune.stage import Stage, results_of
from ray_mentor.on_ray.tune.study import Found, Study
from ray_mentor.run.checkpoint.checkpoints import newest_good
from ray_mentor.run.directory import RunDirectory
from ray_mentor.run.progress import ProgressBoard, Row

ray.cloudpickle.register_pickle_by_value(sys.modules[__name__])  # type: ignore[attr-defined]

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("local_ray")]

SPACE = {"update_interval": tune.choice([1, 2, 3]), "mentor_learning_rate": tune.loguniform(1e-3, 1e-1)}
PATIENCE = 180.0


@pytest.fixture
def board() -> Iterator[Any]:
    actor: Any = ray.remote(ProgressBoard).options(num_cpus=0).remote()
    yield actor
    ray.kill(actor)


@pytest.fixture(autouse=True)
def nothing_is_left() -> Iterator[None]:
    """No actor and no placement group outlives what made it, and all CPUs are free again.

    Ray Train's coordinator is one for the whole cluster.
    """
    before = _left()
    yield
    deadline = time.monotonic() + PATIENCE
    while left := _left() - before:
        assert time.monotonic() < deadline, left
        time.sleep(0.5)


def _left() -> set[str]:
    here = ray.get_runtime_context().gcs_address  # without it, the Ray that was started last is asked
    alive = ray.util.state.list_actors(address=here, filters=[("state", "!=", "DEAD")], limit=1000)
    actors = [actor for actor in alive if actor.class_name != "_AutoscalingCoordinatorActor"]
    groups = [group for group in ray.util.placement_group_table().values() if group["state"] != "REMOVED"]
    busy = ray.cluster_resources()["CPU"] - ray.available_resources().get("CPU", 0.0)
    return {
        *(f"{actor.class_name} {actor.actor_id}" for actor in actors),
        *(str(group) for group in groups),
        *([f"{busy:g} CPUs are taken"] if busy else []),
    }


def stage_of(tmp_path: Path, board: Any, name: str = "search", concurrent: int = 2, **plan: Any) -> Stage:
    made = plan_for(tmp_path / "runs", board, **plan)
    return Stage(made, str(tmp_path / "tune"), name, concurrent, {})


def student_in(path: str) -> Any:
    found = newest_good(RunDirectory(path), lambda text: None)
    assert found is not None
    return found.state.student


def optimizer_of(config: TrainConfig) -> Any:
    return functools.partial(make_optimizer, config=config.student)


def with_interval(interval: int) -> TrainConfig:
    return dataclasses.replace(BASE, mentor=dataclasses.replace(BASE.mentor, update_interval=interval))


def test_a_sweep_finds_its_best_and_says_whether_it_is_better(tmp_path: Path) -> None:
    rows: list[Row] = []
    directory = RunDirectory(str(tmp_path))
    found: Found = Study(
        space_of("mine", SPACE),
        BASE,
        SweepSettings(trials=3, scheduler="none", search="optuna", confirm_seeds=2, objective="gap-per-cost"),
        MakeSmall(),
        directory,
        BASE.flat(),
        rows.append,
    ).run()
    assert len(found.grid) == len(found.trials) == 3
    assert set(found.trials["state"]) == {"finished"}
    assert found.trials["objective"].is_monotonic_decreasing
    best = found.trials.iloc[0]
    assert found.best is not None
    assert (found.best.trial, found.best.objective) == (best["trial"], best["objective"])
    assert found.best.config.mentor.update_interval == best["setting.update_interval"]
    assert len(found.curves) == 3 * EPOCHS
    assert {row["trial"] for row in rows if row["kind"] == "trial"} == set(found.trials["trial"])
    # No trial has a figure of the test split; the confirmation has.
    for path in found.trials["path"]:
        assert json.loads((Path(path) / "result.json").read_text())["test_accuracy"] is None
    confirm = found.summary["confirm"]
    assert confirm["seeds"] == [1, 2]
    assert all(accuracy > 0.5 for who in ("best", "default") for accuracy in confirm[who]["test_accuracy"])
    assert confirm["verdict"] in ("better", "worse", "no difference shown")
    # The objective is the gap to equal weights over the relative time, at the same epoch.
    plain = found.summary["baseline"]
    assert best["objective"] == pytest.approx(
        (best["accuracy"] - plain["accuracy"]) / (best["seconds"] / plain["seconds"]), rel=1e-6
    )


def test_trials_that_are_stopped_early_leave_nothing(tmp_path: Path, board: Any) -> None:
    # Trials that are equally good all go on: here one half learns fast, and the other not at all.
    space = {**SPACE, "learning_rate": tune.choice([0.1, 1e-5])}
    stage = dataclasses.replace(
        stage_of(tmp_path, board, make=MakeSmall(optimizer_of)),
        domains=space,
        trials=6,
        search=make_search("pareto", 0, space),
        scheduler=make_scheduler("asha", space, EPOCHS),
    )
    epochs = [int((result.metrics or {})["epoch"]) for result in results_of(stage.run())]
    assert len(epochs) == 6
    assert min(epochs) < EPOCHS, "none was stopped"
    ended = [row["state"] for row in ray.get(board.read.remote(0)) if row["kind"] == "ended"]
    assert ended.count("finished") == epochs.count(EPOCHS)
    assert ended.count("stopped") > 0


def test_the_worst_of_a_population_takes_over_a_better_ones_state(tmp_path: Path, board: Any) -> None:
    stage = dataclasses.replace(
        stage_of(tmp_path, board), domains=SPACE, trials=3, scheduler=make_scheduler("pbt", SPACE, EPOCHS)
    )
    results = results_of(stage.run())
    assert [(result.metrics or {})["epoch"] for result in results] == [EPOCHS] * 3
    branches = [json.loads(file.read_text()) for file in (tmp_path / "runs").glob("*/branch.json")]
    assert branches
    for branch in branches:
        donor = Path(branch["run"])
        assert donor.parent == tmp_path / "runs"
        assert branch["step"] > 0
    # Each goes on from there to the end, under the settings that Ray Tune says it has.
    for result in results:
        metrics, sample = result.metrics or {}, result.config or {}
        config = read_config(f"{metrics['path']}/config.toml")
        assert config["update_interval"] == sample["update_interval"]
        assert config["mentor_learning_rate"] == pytest.approx(sample["mentor_learning_rate"])
        assert metrics["result"]["steps"] == STEPS


def test_a_crashed_trial_goes_on_and_one_that_always_crashes_does_not_end_the_sweep(
    tmp_path: Path, board: Any, small_splits: Splits
) -> None:
    accident = Accident(str(tmp_path), "dies", "exit").arm()
    listed = (with_interval(2), with_interval(3), with_interval(4))
    results = results_of(stage_of(tmp_path, board, listed=listed, make=MakeSmall(Crashes(accident))).run())
    assert accident.happened
    by_place = {(result.config or {})["listed"]: result for result in results}
    assert "as planned" in str(by_place[1].error)
    for place, interval in ((0, 2), (2, 4)):
        assert by_place[place].error is None
        alone = trainer_for(
            small_splits,
            tmp_path,
            f"alone-{interval}",
            mentor=dataclasses.replace(MENTOR, update_interval=interval),
        ).fit()
        assert_same_bits(student_in((by_place[place].metrics or {})["path"]), alone.student_state)


@pytest.mark.timeout(600)
def test_more_trials_than_fit_of_two_workers_each_and_one_ended_in_the_middle(tmp_path: Path, board: Any) -> None:
    collapses = dataclasses.replace(BASE.mentor, update_interval=1, min_effective_share=0.99)
    listed = tuple(
        having(dataclasses.replace(BASE, mentor=mentor), workers=2, epochs=2 * EPOCHS)
        for mentor in (collapses, BASE.mentor)
    )
    stage = stage_of(
        tmp_path,
        board,
        concurrent=1,
        base=listed[0],
        listed=listed,
        objective=dataclasses.replace(plan_for(tmp_path).objective, epochs=2 * EPOCHS),
    )
    results = results_of(stage.run())
    by_place = {(result.config or {})["listed"]: result.metrics or {} for result in results}
    assert by_place[0]["hopeless"]
    assert by_place[0]["epoch"] < 2 * EPOCHS
    assert by_place[1]["epoch"] == 2 * EPOCHS
    assert by_place[1]["result"]["workers"] == 2


@dataclasses.dataclass(frozen=True)
class Crashes:
    """Makes optimizers: under interval 2 the process dies once, under 3 each run fails."""

    accident: Accident

    def __call__(self, config: TrainConfig) -> Any:
        if config.mentor.update_interval == 3:
            return _fails
        dies = ((0, 12, self.accident),) if config.mentor.update_interval == 2 else ()
        return AtStep(dies)


def _fails(params: Any) -> Any:
    made = AtStep(())(params)
    made.register_step_pre_hook(_as_planned)
    return made


def _as_planned(*_: Any) -> None:
    raise RuntimeError("as planned")
