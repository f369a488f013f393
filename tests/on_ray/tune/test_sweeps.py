"""Sweeps on a real Ray: what they find, what becomes of trials that crash, and that nothing of any trial is left."""

from __future__ import annotations

import dataclasses
import functools
import json
import shutil
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import ray
import ray.util
import ray.util.state
from accidents import Accident, AtStep
from ray import tune
from rich.console import Console
from small_runs import MENTOR, STEPS, assert_same_bits, trainer_for
from small_sweeps import BASE, EPOCHS, MakeSmall, having, makers, plan_for

from ray_mentor import many_runs, tune_curriculum
from ray_mentor.config import TrainConfig
from ray_mentor.config.file import read_config
from ray_mentor.config.sweep import SweepSettings
from ray_mentor.core.student.optimizers import make_optimizer
from ray_mentor.data import Splits
from ray_mentor.errors import UserError
from ray_mentor.on_ray.session.internals import of_ray
from ray_mentor.on_ray.train.places import Place
from ray_mentor.on_ray.tune.record import to_json
from ray_mentor.on_ray.tune.schedulers import make_scheduler
from ray_mentor.on_ray.tune.search import Listed, Suggestions, make_search
from ray_mentor.on_ray.tune.spaces import space_of
from ray_mentor.on_ray.tune.stage import Stage, brief
from ray_mentor.on_ray.tune.study import Best, Found, Study
from ray_mentor.on_ray.tune.trial import newest_run
from ray_mentor.report.sweep.display import SweepDisplay
from ray_mentor.run.checkpoint.checkpoints import newest_good
from ray_mentor.run.claim import taken_up
from ray_mentor.run.directory import RunDirectory
from ray_mentor.run.progress import Row
from ray_mentor.sweep import _closed

ray.cloudpickle.register_pickle_by_value(sys.modules[__name__])  # type: ignore[attr-defined]

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("local_ray")]

SPACE = {"update_interval": tune.choice([1, 2, 3]), "mentor_learning_rate": tune.loguniform(1e-3, 1e-1)}
PATIENCE = 180.0


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


@dataclasses.dataclass
class Told:
    """What a stage told, by trial."""

    rows: list[Row] = dataclasses.field(default_factory=list)

    def epochs(self, name: str) -> list[int]:
        return [row["epoch"] for row in self.rows if row["kind"] == "trial" and row["trial"] == name]

    @property
    def ended(self) -> dict[str, Row]:
        return {row["trial"]: row for row in self.rows if row["kind"] == "ended"}

    @property
    def last(self) -> dict[str, Row]:
        return {row["trial"]: row for row in self.rows if row["kind"] == "trial"}


def run_stage(tmp_path: Path, told: Told, search: Any, trials: int, concurrent: int = 2, **plan: Any) -> None:
    scheduler = plan.pop("scheduler", None)
    made = plan_for(tmp_path / "runs", **plan)
    Stage(made, str(tmp_path), concurrent, search, trials, told.rows.append, scheduler).run()
    assert not list(tmp_path.glob(".tune*")), "Ray Tune's books stayed"


def drawn_from(space: dict[str, Any], search: str = "random") -> Suggestions:
    return Suggestions(make_search(search, 0, space), space, (), lambda name, sample: None)


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
        makers,
        directory,
        BASE.flat(),
        rows.append,
    ).run()
    assert len(found.trials) == 3
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


def test_trials_that_are_stopped_early_leave_nothing(tmp_path: Path) -> None:
    # Trials that are equally good all go on, as do bad ones before which there was no good one.
    rates = {"fast1": 0.1, "fast2": 0.1, "never1": 1e-5, "never2": 1e-5, "never3": 1e-5, "fast3": 0.1}
    listed = {name: BASE.changed(learning_rate=rate) for name, rate in rates.items()}
    told = Told()
    run_stage(
        tmp_path,
        told,
        Listed(listed),
        6,
        listed=listed,
        make=MakeSmall(optimizer_of),
        scheduler=make_scheduler("asha", SPACE, EPOCHS),
    )
    epochs = [told.epochs(name)[-1] for name in told.ended]
    assert len(epochs) == 6
    assert min(epochs) < EPOCHS, "none was stopped"
    states = [row["state"] for row in told.ended.values()]
    assert states.count("finished") == epochs.count(EPOCHS)
    assert states.count("stopped") == 6 - epochs.count(EPOCHS) >= 2


def test_the_worst_of_a_population_takes_over_a_better_ones_state(tmp_path: Path) -> None:
    told = Told()
    run_stage(tmp_path, told, drawn_from(SPACE), 3, scheduler=make_scheduler("pbt", SPACE, EPOCHS))
    assert [row["epoch"] for row in told.last.values()] == [EPOCHS] * 3
    assert [row["state"] for row in told.ended.values()] == ["finished"] * 3
    branches = [json.loads(file.read_text()) for file in (tmp_path / "runs").glob("*/branch.json")]
    assert branches
    for branch in branches:
        donor = Path(branch["run"])
        assert donor.parent == tmp_path / "runs"
        assert branch["step"] > 0
    # Each goes on from there to the end, under the settings that it is said to have.
    for name, row in told.last.items():
        run = Path(newest_run(str(tmp_path / "runs"), name).path)
        config, sample = read_config(str(run / "config.toml")), row["settings"]
        assert config["update_interval"] == sample["update_interval"]
        assert config["mentor_learning_rate"] == pytest.approx(sample["mentor_learning_rate"])
        assert result_in(run)["steps"] == STEPS
        if (run / "branch.json").exists():
            assert json.loads((run / "branch.json").read_text())["settings"] == sample


def test_a_crashed_trial_goes_on_and_one_that_always_crashes_does_not_end_the_sweep(
    tmp_path: Path, small_splits: Splits
) -> None:
    accident = Accident(str(tmp_path), "dies", "exit").arm()
    listed = {f"interval{n}": with_interval(n) for n in (2, 3, 4)}
    told = Told()
    run_stage(tmp_path, told, Listed(listed), 3, listed=listed, make=MakeSmall(Crashes(accident)))
    assert accident.happened
    assert told.ended["interval3"]["state"] == "failed"
    assert "as planned" in brief(told.ended["interval3"]["error"])
    assert "in _as_planned" in told.ended["interval3"]["error"], "of the whole traceback"
    assert "\x1b" not in told.ended["interval3"]["error"]
    notes = [row["text"] for row in told.rows if row["kind"] == "note"]
    assert [note.split(":")[0] for note in notes if "interval3" in note] == [
        "trial interval3 failed and goes on",
        "trial interval3 failed",
    ]
    for interval in (2, 4):
        assert told.ended[f"interval{interval}"]["state"] == "finished"
        alone = trainer_for(
            small_splits,
            tmp_path,
            f"alone-{interval}",
            mentor=dataclasses.replace(MENTOR, update_interval=interval),
        ).fit()
        assert_same_bits(student_in(str(tmp_path / "runs" / f"interval{interval}")), alone.student_state)


@pytest.mark.timeout(600)
def test_more_trials_than_fit_of_two_workers_each_and_one_ended_in_the_middle(tmp_path: Path) -> None:
    collapses = dataclasses.replace(BASE.mentor, update_interval=1, min_effective_share=0.99)
    listed = {
        name: having(dataclasses.replace(BASE, mentor=mentor), workers=2, epochs=2 * EPOCHS)
        for name, mentor in (("collapses", collapses), ("lasts", BASE.mentor))
    }
    told = Told()
    run_stage(
        tmp_path,
        told,
        Listed(listed),
        2,
        concurrent=1,
        base=listed["lasts"],
        listed=listed,
        objective=dataclasses.replace(plan_for(tmp_path).objective, epochs=2 * EPOCHS),
    )
    assert told.ended["collapses"]["state"] == "hopeless"
    assert told.epochs("collapses")[-1] < 2 * EPOCHS
    assert told.ended["lasts"]["state"] == "finished"
    assert told.epochs("lasts") == list(range(1, 2 * EPOCHS + 1))
    assert result_in(tmp_path / "runs" / "lasts")["workers"] == 2


def result_in(run: Path) -> dict[str, Any]:
    result: dict[str, Any] = json.loads((run / "result.json").read_text())
    return result


def test_a_sweep_whose_best_has_changed_is_confirmed_anew(tmp_path: Path, small_splits: Splits) -> None:
    """A trial that failed for good, and does not any more, is the best after all: of what was confirmed, nothing holds.

    Runs that are the same as before are not trained again.
    """
    broken = tmp_path / "broken"
    broken.touch()

    def study(show: Any = lambda row: None) -> Study:
        return Study(
            space_of("mine", {"learning_rate": tune.choice([0.1, 1e-5])}),
            having(BASE, max_failures=0),
            SweepSettings(trials=4, scheduler="none", confirm_seeds=1),
            lambda configs, test: MakeSmall(LearnsOrBreaks(str(broken))),
            RunDirectory(str(tmp_path / "sweep")),
            BASE.flat(),
            show,
        )

    first = study().run()
    assert first.best is not None
    assert first.best.sample == {"learning_rate": 1e-5}
    assert first.summary["states"] == {"failed": 1, "finished": 3}
    before = written_in(tmp_path / "sweep")
    broken.unlink()
    rows: list[Row] = []
    second = study(rows.append).run()
    assert [row["state"] for row in rows if row["kind"] == "ended"] == ["finished"] * 4, (
        "those of before are shown, too"
    )
    notes = [row["text"] for row in rows if row["kind"] == "note"]
    assert "trials that were begun before: 4, of which go on: 1" in notes
    assert second.best is not None
    assert second.best.sample == {"learning_rate": 0.1}
    assert second.summary["states"] == {"finished": 4}
    after = written_in(tmp_path / "sweep")
    assert {path: after[path] for path in before} == before, "a finished run was trained again"
    assert len(after) == len(before) + 2, "a trial, and the best on a seed; the defaults were there"

    for who, rate in (("best", 0.1), ("default", BASE.student.learning_rate)):
        config = dataclasses.replace(BASE.student, learning_rate=rate)
        alone = trainer_for(
            small_splits, tmp_path, who, seed=1, optimizer=functools.partial(make_optimizer, config=config)
        )
        expected = alone.fit().result["test_accuracy"]
        assert second.summary["confirm"][who]["test_accuracy"] == [expected]
    assert first.summary["confirm"]["best"] != second.summary["confirm"]["best"]


def written_in(sweep: Path) -> dict[str, int]:
    return {str(file): file.stat().st_mtime_ns for file in sweep.glob("*/*/result.json")}


@dataclasses.dataclass(frozen=True)
class LearnsOrBreaks:
    """Makes optimizers: while a file is there, each run fails that would learn anything from the search on."""

    broken: str

    def __call__(self, config: TrainConfig) -> Any:
        breaks = Path(self.broken).exists() and config.student.learning_rate == 0.1 and config.run.seed == 0
        return _fails if breaks else functools.partial(make_optimizer, config=config.student)


@pytest.mark.parametrize("scheduler", ["asha", "pbt"])
def test_a_sweep_that_breaks_off_goes_on_to_the_same_end(scheduler: str, tmp_path: Path) -> None:
    """In a process in which all is still there: what it knows again is what was written down."""

    class Stopper:
        def __init__(self, after: int) -> None:
            self.left = after

        def __call__(self, row: Row) -> None:
            self.left -= row["kind"] == "trial"
            if self.left == 0:
                raise UserError("as planned")

    def study(show: Any) -> Study:
        return Study(
            space_of("mine", SPACE),
            BASE,
            SweepSettings(trials=4, scheduler=scheduler, confirm_seeds=0),
            makers,
            RunDirectory(str(tmp_path)),
            BASE.flat(),
            show,
        )

    with pytest.raises(UserError, match="as planned"):
        study(Stopper(7)).run()
    before = written_in(tmp_path)
    with pytest.raises(UserError, match="as planned"):
        study(Stopper(3)).run()
    rows: list[Row] = []
    found = study(rows.append).run()
    assert {path: written_in(tmp_path)[path] for path in before} == before
    assert len(found.trials) == 4
    assert set(found.trials["state"]) <= {"finished", "stopped"}
    lines = [json.loads(line) for line in (tmp_path / "progress.jsonl").read_text().splitlines()]
    begun = [row["settings"] for row in lines if row["kind"] == "begun"]
    whole = make_search("random", BASE.run.seed, SPACE)
    assert begun == [json.loads(to_json(whole.suggest(""))) for _ in range(4)], "random draws go on where they were"
    for name, epochs in found.curves.groupby("trial")["epoch"]:
        assert epochs.is_unique, name
        if scheduler == "asha" or len(epochs) == EPOCHS:  # of PBT, a trial may go on from one that is further on
            assert epochs.tolist() == list(range(1, len(epochs) + 1)), name
    notes = [row["text"] for row in rows if row["kind"] == "note"]
    assert any("of which go on: " in note for note in notes)
    assert any("population based training begins anew" in note for note in notes) == (scheduler == "pbt")
    assert not list(tmp_path.glob(".tune*"))


def test_a_sweep_that_another_process_takes_up_stops(tmp_path: Path) -> None:
    """A laptop that wakes up: its driver trains nothing any more, and what the other one tells stays as it is."""
    directory = RunDirectory(str(tmp_path))
    before: list[dict[str, bytes]] = []

    def told() -> dict[str, bytes]:
        return {path.name: path.read_bytes() for path in tmp_path.iterdir() if path.is_file()}

    def take_up(row: Row) -> None:
        if row["kind"] == "ended" and not before:
            taken_up(directory).write("sweep.json", b"the other's")
            before.append(told())

    settings = SweepSettings(trials=3, concurrent=1, scheduler="none", confirm_seeds=1)
    study = Study(space_of("mine", SPACE), BASE, settings, makers, directory, BASE.flat(), take_up)
    with pytest.raises(UserError) as raised:
        study.run()
    assert str(raised.value) == f"another process has taken up the run {tmp_path}; this one stops"
    assert [told()] == before
    assert not (tmp_path / "confirm").exists()
    assert not list(tmp_path.glob(".tune*"))


def test_a_sweep_that_is_taken_up_at_its_end_writes_no_outcome(tmp_path: Path) -> None:
    claimed = taken_up(RunDirectory(str(tmp_path)))
    trials = pd.DataFrame({"trial": ["a"], "state": ["finished"]})
    found = Found(trials, pd.DataFrame(), Best("a", 0.5, {}, BASE), {}, claimed)
    taken_up(RunDirectory(str(tmp_path)))
    with pytest.raises(UserError, match="another process has taken up the run"):
        _closed(found, SweepDisplay(1, EPOCHS, Console(quiet=True)))
    assert [path.name for path in tmp_path.iterdir() if path.is_file()] == ["attempt"]


def test_a_sweep_through_rays_client_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(of_ray, "through_client", lambda: True)
    settings = SweepSettings(trials=1)
    directory = RunDirectory(str(tmp_path / "sweep"))
    study = Study(space_of("mine", SPACE), BASE, settings, makers, directory, BASE.flat(), lambda row: None)
    with pytest.raises(UserError, match="RAY_ADDRESS is one of Ray's client"):
        study.run()
    assert not (tmp_path / "sweep").exists()


class CaughtError(Exception):
    """What a run was about to be told."""


def test_workers_of_all_trials_read_data_that_lie_in_one_place(
    small_splits: Splits, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = ray.put(small_splits)
    trainer = trainer_for(ray.get(place), tmp_path, "wide", workers=2)
    trainer.stored_at(place)

    def catch(_: Any, job: Any, *more: Any, **alone: bool) -> None:
        raise CaughtError(job.splits)

    monkeypatch.setattr(Place, "_trainer", catch)
    with pytest.raises(CaughtError) as caught:
        trainer.fit()
    assert caught.value.args == (place,)


def test_data_are_read_once_for_all_trials(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever reads them again finds nothing: they are gone when the trials begin."""
    data = tmp_path / "data"
    data.mkdir()
    write_small_parquet(data / "train.parquet")
    config = (
        TrainConfig()
        .changed(workers=0)
        .changed(
            data=str(data), noise="none", meta_size=10, epochs=2, storage_path=str(tmp_path / "runs"), run_name="mine"
        )
    )
    stored = many_runs.Configured.__call__

    def then_remove(self: Any, configs: Any, *, test: bool) -> Any:
        made = stored(self, configs, test=test)
        shutil.rmtree(data)
        [place] = made.stored.values()
        splits = ray.get(place)
        assert splits.test is None, "no trial of a search can see it"
        assert not splits.train.inputs.values.flags.owndata, "each process had a copy of its own"
        return made

    monkeypatch.setattr(many_runs.Configured, "__call__", then_remove)
    settings = SweepSettings(trials=3, scheduler="none", confirm_seeds=0)
    outcome = tune_curriculum(SPACE, config, settings, console=Console(quiet=True))
    assert outcome.sweep["states"] == {"finished": 3}


def write_small_parquet(file: Path) -> None:
    draw = np.random.default_rng(0)
    labels = np.arange(120) % 3
    features = draw.standard_normal((120, 4)) + 2 * labels[:, None]
    columns = {f"x{column}": features[:, column] for column in range(4)}
    pq.write_table(pa.table({**columns, "label": labels}), file)


def test_what_cannot_be_written_down_ends_the_sweep_as_the_users_mistake(tmp_path: Path) -> None:
    class Full(list[Row]):
        def append(self, row: Row) -> None:
            super().append(row)
            if row["kind"] == "trial":
                raise UserError("the disk is full")

    with pytest.raises(UserError, match="the disk is full"):
        run_stage(tmp_path, Told(Full()), drawn_from(SPACE), 2)


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
