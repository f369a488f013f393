"""Which runs a comparison is made of, that all have the same means, and what is refused before Ray starts."""

from __future__ import annotations

import dataclasses
import functools
from pathlib import Path
from typing import Any

import pytest
import ray.train.torch
import torch
from compared_runs import failed, run
from small_sweeps import MakeSmall

from ray_mentor import compare, students
from ray_mentor.comparison.cells import Cell, asked_methods, check_shared, levels_of, noise_of, plan_of
from ray_mentor.comparison.measured import rows_of, warnings_of
from ray_mentor.config import CurriculumConfig, TrainConfig
from ray_mentor.config.compare import CompareSettings
from ray_mentor.config.compared import METHODS
from ray_mentor.core.exchange import Alone
from ray_mentor.core.student.pair import members_of
from ray_mentor.data.plan.batches import Plan
from ray_mentor.data.splits.splits import Splits, prepare
from ray_mentor.errors import UserError
from ray_mentor.many_runs import Drawn, drawn_by
from ray_mentor.on_ray.train.assemble import make_student
from ray_mentor.on_ray.train.trainer import CurriculumTrainer
from ray_mentor.on_ray.tune.resumed import digest
from ray_mentor.run.over_seeds.lines import lines
from ray_mentor.training import make_trainer

BASE = TrainConfig().changed(workers=0, epochs=2, train_size=300, test_size=100)


@functools.cache
def splits_at(drawn: Drawn) -> Splits:
    return prepare(*drawn)


def made(settings: CompareSettings, base: TrainConfig = BASE, **own: Any) -> tuple[list[Cell], list[str]]:
    plan = plan_of(levels_of(base, settings), asked_methods(settings, own), settings, probe, noise_of)
    return plan.cells, plan.notes


def probe(config: TrainConfig) -> CurriculumTrainer:
    return make_trainer(config, splits_at(drawn_by(config)))


def test_a_cell_a_level_method_and_seed_a_seed_of_all_methods_first() -> None:
    settings = CompareSettings(("gce",), seeds=2, noises=("none", "symmetric:0.2"), meta_sizes=(30, 60))
    cells, notes = made(settings, BASE.changed(seed=5))
    assert notes == ["oracle is left out: it needs the true labels, which are not known; so there is no gap to close"]
    assert [(cell.noise, cell.meta_size, cell.seed, cell.method) for cell in cells] == [
        (noise, size, seed, method)
        for noise in ("none", "symmetric:0.2")
        for size in (30, 60)
        for seed in (5, 6)
        for method in ("uniform-trusted", "gce", *(["oracle"] if noise != "none" else []))
    ]
    assert len({digest(cell.config) for cell in cells}) == len(cells)


def test_what_needs_trusted_samples_is_a_row_that_says_so_where_there_are_none() -> None:
    settings = CompareSettings(("gce", "mentornet", "forward"), preset="quick", seeds=2, meta_sizes=("0,30",))
    plan = plan_of(levels_of(BASE, settings), asked_methods(settings, {}), settings, probe, noise_of)
    assert [(cell.method, cell.meta_size, cell.seed) for cell, _ in plan.unable] == [
        ("forward", 0, 0),
        ("mentornet", 0, 0),
    ]
    assert plan.unable[1][1] == (
        "method is 'mentornet', whose mentor learns from a meta set, but there is no trusted sample (meta_size is 0); "
        "give some, e.g. --meta-size 100 or --meta-data FILE, draw a meta set from labels that look right, --meta-from "
        "pseudo-clean, or train with what needs none, e.g. --method self-paced or --loss gce"
    )
    able = {size: {cell.method for cell in plan.cells if cell.meta_size == size} for size in (0, 30)}
    assert able[30] - able[0] == {"mentornet", "forward"}
    assert able[0] == {"uniform", "uniform-trusted", "mixup", "gce", "self-paced", "oracle"}
    rows = rows_of([cell for cell, _ in plan.unable], [reason for _, reason in plan.unable], plan.params)
    (line, _) = lines(rows, "test_accuracy")
    assert line["seeds"] == 0
    assert line["error"].startswith("seed 0: ")


def test_uniform_trusted_and_the_oracle_run_in_any_case() -> None:
    cells, notes = made(CompareSettings(("mixup",), seeds=1))
    assert ([cell.method for cell in cells], notes) == (["uniform-trusted", "mixup", "oracle"], [])
    assert {cell.noise for cell in cells} == {"symmetric:0.4"}, "auto, in plain words"


def test_all_have_the_same_splits_schedule_and_initial_student(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(ray.train.torch, "get_device", lambda: torch.device("cpu"))
    cells, notes = made(CompareSettings(preset="all", seeds=2), mine={"method": "self-paced", "pace": "linear"})
    assert [note.partition(":")[0] for note in notes] == ["group-dro is left out"], "the data name no groups"
    assert {cell.method for cell in cells} == {*METHODS, "mine"} - {"group-dro"}
    for seed in (0, 1):
        own = [cell for cell in cells if cell.seed == seed]
        assert len({drawn_by(cell.config) for cell in own}) == 1, "what splits are drawn by"
        trainers = [make_trainer(cell.config, splits_at(drawn_by(cell.config))) for cell in own]
        students = [make_student(trainer._job, Alone()) for trainer in trainers]
        first, *others = (members_of(each).get("first", each).state_dict() for each in students)
        assert all(torch.equal(other[name], first[name]) for other in others for name in first)
        schedules = [
            Plan(t._job.order, t.config.run.batch_size, t.config.run.seed, t.config.run.epochs) for t in trainers
        ]
        rows = [[rows.tolist() for _, rows, _ in plan.steps()] for plan in schedules]
        assert all(other == rows[0] for other in rows)
        assert len({(t.config.student, t.config.mentor.meta_holdout) for t in trainers}) == 1
    assert list(tmp_path.iterdir()) == [], "nothing is written before all is known to be possible"


def test_what_is_left_out_of_a_preset_is_refused_by_name() -> None:
    with pytest.raises(UserError) as refused:
        made(CompareSettings(("mentornet-pd",)), BASE.changed(mentor_params="no.npz"))
    assert str(refused.value) == (
        "method 'mentornet-pd': no.npz does not exist; give the path of published MentorNet params (.npz)"
    )
    cells, notes = made(CompareSettings(preset="seed", seeds=1), BASE.changed(mentor_params="no.npz"))
    assert [note.partition(":")[0] for note in notes] == ["mentornet-pd is left out", "randaugment is left out"][:1]
    assert "mentornet-pd" not in {cell.method for cell in cells}


def test_a_method_of_ones_own_that_makes_no_sense_is_refused() -> None:
    with pytest.raises(UserError, match=r"^method 'mine': mixing is 'mentormix', which mixes as often as the student"):
        made(
            CompareSettings(("gce",)), BASE.changed(meta_holdout=0.0), mine={"method": "uniform", "mixing": "mentormix"}
        )
    with pytest.raises(UserError, match=r"^method 'mine': unknown loss 'gcee'; valid: cross-entropy, gce, sce, mae"):
        made(CompareSettings(("gce",)), mine={"loss": "gcee"})


def test_a_method_of_ones_own_from_a_file(tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    file.write_text('method = "self-paced"\npace = "linear"\n')
    methods = asked_methods(CompareSettings((f"mine={file},gce",)), {})
    assert list(methods) == ["mine", "uniform-trusted", "gce", "oracle"]
    assert methods["mine"].says == "your own: method = self-paced, pace = linear"
    assert methods["mine"].config(BASE).curriculum.pace == "linear"
    with pytest.raises(UserError, match=r"there are two methods 'mine' of your own; give one of them another name"):
        asked_methods(CompareSettings((f"mine={file}",)), {"mine": {"method": "uniform"}})
    with pytest.raises(UserError, match="there is no config file"):
        asked_methods(CompareSettings(("mine=gone.toml",)), {})


@pytest.mark.parametrize(
    ("setting", "value"), [("method", "uniform"), ("loss", "gce"), ("mixing", "mixup"), ("pace", "linear")]
)
def test_what_a_method_says_is_not_said_for_all(setting: str, value: str) -> None:
    config = TrainConfig(curriculum=CurriculumConfig(**{setting: value}))  # type: ignore[arg-type]
    with pytest.raises(UserError) as refused:
        check_shared(config, CompareSettings())
    assert str(refused.value) == (
        f"{setting} is {value!r}, but in a comparison each method says this itself; leave --{setting} out, and compare "
        "a method of your own that has it: --methods NAME=FILE.toml"
    )


def test_trusted_samples_are_in_training_and_drawn_where_sizes_are_compared() -> None:
    with pytest.raises(UserError, match="meta_in_training is 0, but in a comparison all methods have the same trusted"):
        check_shared(TrainConfig().changed(meta_in_training=0.0), CompareSettings())
    with pytest.raises(UserError, match=r"meta_sizes is \(10, 20\), but meta_data is 'trusted.parquet', a trusted set"):
        check_shared(TrainConfig().changed(meta_data="trusted.parquet"), CompareSettings(meta_sizes=(10, 20)))


def test_there_must_be_something_to_measure_by() -> None:
    nothing = BASE.changed(noise="none", meta_holdout=0.0)
    unknown = dataclasses.replace(splits_at(drawn_by(nothing)), test=None)
    settings = CompareSettings()
    asked = asked_methods(settings, {})
    with pytest.raises(UserError, match=r"meta_holdout is 0, of 100 trusted samples, which leaves none to measure"):
        plan_of([nothing], asked, settings, lambda config: make_trainer(config, unknown), noise_of)


def test_params_are_those_of_student_and_mentor() -> None:
    settings = CompareSettings(("mentornet", "co-teaching", "dividemix"), seeds=1)
    params = plan_of([BASE], asked_methods(settings, {}), settings, probe, noise_of).params
    student = students.make_student("mlp", splits_at(drawn_by(BASE)).train.inputs.shape, 10)
    assert params["uniform-trusted"] == params["oracle"] == sum(param.numel() for param in student.parameters())
    assert params["co-teaching"] == params["dividemix"] == 2 * params["uniform-trusted"]
    assert params["mentornet"] - params["uniform-trusted"] == 2 * 100 + 100 + 100 + 1


def test_a_model_of_ones_own() -> None:
    """What makes it says all of its data: how many are trusted, and whether the truth is known."""
    settings = CompareSettings(("gce",), seeds=2)
    plan = plan_of([BASE], asked_methods(settings, {}), settings, functools.partial(MakeSmall(), test=True), _as_it_is)
    assert {(cell.noise, cell.meta_size) for cell in plan.cells} == {("as it is", 30)}
    assert [cell.method for cell in plan.cells] == ["uniform-trusted", "gce", "oracle"] * 2
    assert plan.params["gce"] == 8 * 16 + 16 + 16 * 3 + 3


def _as_it_is(level: TrainConfig) -> str:
    return "as it is"


def test_levels_are_of_data_that_settings_describe() -> None:
    with pytest.raises(UserError, match="noises and meta_sizes say what is drawn of data that the settings describe"):
        compare(settings=CompareSettings(meta_sizes=(10, 20)), make=MakeSmall())


def test_what_runs_warned_of_is_said_once_a_method() -> None:
    late = "warning: the mentor learned only 2 times in 3 steps, so this is next to plain training; give more --epochs"
    noted = ["kept is ...", late], [late.replace("2", "4")], []
    rows = [run("mentornet", seed, 0.5, notes=notes) for seed, notes in enumerate(noted)]
    rows += [run("gce", 0, 0.5), failed("sce", 0, "boom")]
    (said,) = warnings_of(rows, "test_accuracy")
    assert said == (
        "mentornet, seed 0 (noise symmetric:0.4, 100 trusted samples): the mentor learned only 2 times in 3 steps, so "
        "this is next to plain training; give more --epochs; 2 of its 3 runs warned"
    )


def test_how_little_an_accuracy_on_trusted_samples_rests_on() -> None:
    rows = [run("gce", 0, 0.5, trusted_held_out=9), failed("sce", 0, "boom")]
    assert warnings_of(rows, "test_accuracy") == []
    assert warnings_of(rows, "trusted_accuracy") == [
        "accuracy is that on 9 held-out trusted samples a run: one of them is 11.1 points"
    ]
