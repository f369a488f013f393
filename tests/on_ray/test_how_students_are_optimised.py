"""Runs whose gradient is clipped, whose rate warms up, of whose student a part is frozen and the head has its rate."""

from __future__ import annotations

import dataclasses
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch
from small_runs import assert_same_run, carried, trainer_for

from ray_mentor import CurriculumTrainer, Student, StudentConfig, TrainConfig
from ray_mentor.data import Splits
from ray_mentor.errors import UserError
from ray_mentor.report.terminal import closing_rows
from ray_mentor.run.outcome import Outcome
from ray_mentor.students import MLP

pytestmark = pytest.mark.long

AVERAGE = "the student's exponential average (average.safetensors)"
HOW = StudentConfig(
    optimizer="adamw",
    learning_rate=0.01,
    learning_rate_head=0.03,
    clip=0.5,
    warm_up=0.2,
    freeze=("body.1.weight",),
    ema=0.9,
)
STUDENT = partial(MLP, 8, 3, (16,))


@pytest.fixture(scope="module")
def outcome(small_splits: Splits, tmp_path_factory: pytest.TempPathFactory) -> Outcome:
    return trainer(small_splits, tmp_path_factory.mktemp("runs"), "whole").fit()


def trainer(splits: Splits, folder: Path, name: str, how: StudentConfig = HOW, **changes: Any) -> CurriculumTrainer:
    given = {"optimizer": None, "student": STUDENT, "config": TrainConfig(student=how), **changes}
    return trainer_for(splits, folder, name, **given)


def first_params(seed: int = 0) -> dict[str, torch.Tensor]:
    torch.manual_seed(seed)
    return dict(STUDENT().state_dict())


def test_what_is_frozen_stays_and_the_rest_is_trained(outcome: Outcome) -> None:
    before = first_params()
    stayed = {name for name, value in outcome.student_state.items() if torch.equal(value, before[name])}
    assert stayed == {"body.1.weight"}


def test_the_head_has_its_rate(outcome: Outcome) -> None:
    assert [group["initial_lr"] for group in carried(outcome)["optimizer"]["param_groups"]] == [0.01, 0.03]


def test_the_students_average_is_measured_and_kept_beside_it(
    outcome: Outcome, small_splits: Splits, tmp_path: Path
) -> None:
    average = carried(outcome)["average"]
    written = safetensors.torch.load_file(f"{outcome.path}/student/average.safetensors")
    student = STUDENT()
    student.load_state_dict(average)
    test = small_splits.test
    assert test is not None
    with torch.no_grad():
        right = student(test.inputs.take(np.arange(len(test)))).argmax(1).numpy() == test.labels
    assert outcome.metrics[-1]["test_accuracy_average"] == pytest.approx(right.mean())
    assert outcome.result["test_accuracy_average"] == outcome.metrics[-1]["test_accuracy_average"]
    assert outcome.result["trusted_accuracy_average"] == outcome.metrics[-1]["trusted_accuracy_average"]
    said = dict(closing_rows(outcome.result))
    assert said[f"{AVERAGE}, test accuracy"] == f"{right.mean():.4f}"
    assert f"{AVERAGE}, on held-out trusted samples" in said
    figures = Student.from_run(outcome.path, STUDENT, which="average").figures
    assert (figures["epoch"], figures["test_accuracy"]) == (len(outcome.metrics), pytest.approx(right.mean()))
    assert "test_accuracy_average" not in Student.from_run(outcome.path, STUDENT).figures
    for name, value in average.items():
        assert torch.equal(written[name], value)
    assert not torch.equal(average["head.weight"], outcome.student_state["head.weight"])
    plain = trainer(small_splits, tmp_path, "plain", dataclasses.replace(HOW, ema=0.0)).fit()
    assert torch.equal(plain.student_state["head.weight"], outcome.student_state["head.weight"])
    assert "test_accuracy_average" not in plain.result


def test_a_run_that_goes_on_is_the_same(outcome: Outcome, small_splits: Splits, tmp_path: Path) -> None:
    def stop(row: dict[str, Any]) -> None:
        if row["kind"] == "epoch" and row["epoch"] == 1:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        trainer(small_splits, tmp_path, "whole").fit(stop)
    assert_same_run(trainer(small_splits, tmp_path, "whole", resume=True).fit(), outcome)


@pytest.mark.parametrize("change", [{"clip": 0.0}, {"warm_up": 0.0}])
def test_each_of_them_does_something(
    outcome: Outcome, small_splits: Splits, tmp_path: Path, change: dict[str, Any]
) -> None:
    other = trainer(small_splits, tmp_path, "other", dataclasses.replace(HOW, **change)).fit()
    assert not torch.equal(other.student_state["head.weight"], outcome.student_state["head.weight"])


def test_a_run_begins_with_the_params_of_a_file(small_splits: Splits, tmp_path: Path) -> None:
    torch.manual_seed(99)
    there = MLP(8, 5, (16,)).state_dict()  # for other classes
    torch.save(there, tmp_path / "there.pt")
    how = dataclasses.replace(HOW, student_weights=str(tmp_path / "there.pt"), freeze=("body.*",))
    rows: list[dict[str, Any]] = []
    outcome = trainer(small_splits, tmp_path, "begun", how, epochs=1).fit(rows.append)
    for name in ("body.1.weight", "body.1.bias"):
        assert torch.equal(outcome.student_state[name], there[name])
    notes = [row["text"] for row in rows if row["kind"] == "note"]
    assert (
        f"the student begins with 2 params and buffers of {tmp_path}/there.pt; fresh: head.weight, head.bias" in notes
    )


def test_what_is_refused_before_anything_starts(small_splits: Splits, tmp_path: Path) -> None:
    with pytest.raises(
        UserError, match=r"^freeze is 'layer1\.\*', but no param of the student is called so; they are "
    ):
        trainer(small_splits, tmp_path, "refused", dataclasses.replace(HOW, freeze=("layer1.*",)))
    with pytest.raises(UserError, match=r"^learning_rate_head is 0\.03, but the optimizer is your own; give the last "):
        trainer(small_splits, tmp_path, "refused", optimizer=lambda params: torch.optim.SGD(params, 0.1))
