"""Runs of two students in this process: what they leave behind, and that they go on where they stopped."""

from __future__ import annotations

import dataclasses
import functools
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from small_data import image_samples
from small_runs import STEPS, assert_one_row_per_sample_and_epoch, assert_same_run, interrupted, trainer_for

from ray_mentor.config import CurriculumConfig
from ray_mentor.core import curriculum
from ray_mentor.core.losses import cross_entropy, passed_through
from ray_mentor.core.methods.pairs import dividemix
from ray_mentor.core.student.pair import Pair
from ray_mentor.data import Splits
from ray_mentor.errors import UserError
from ray_mentor.run.outcome import Outcome
from ray_mentor.students import CNN, MLP

pytestmark = pytest.mark.long

METHODS = {
    "co-teaching": CurriculumConfig("co-teaching", forget_rate=0.3, forget_epochs=2.0),
    "dividemix": CurriculumConfig("dividemix", burn_in=0.25),
}


@pytest.fixture(scope="module", params=METHODS)
def finished(request: pytest.FixtureRequest, small_splits: Splits, tmp_path_factory: pytest.TempPathFactory) -> Outcome:
    schedule = METHODS[request.param]
    return trainer_for(small_splits, tmp_path_factory.mktemp("runs"), "run", curriculum=schedule).fit()


def schedule_of(outcome: Outcome) -> CurriculumConfig:
    return METHODS[outcome.result["method"]]


def test_they_learn_in_spite_of_the_noise(finished: Outcome) -> None:
    assert finished.result["test_accuracy"] > 0.9
    assert finished.result["noise_auroc"] > 0.9


def test_each_is_measured_beside_their_mean(finished: Outcome, small_splits: Splits) -> None:
    both = Pair(MLP(8, 3, (16,)), MLP(8, 3, (16,)))
    both.load_state_dict(finished.student_state)
    test = small_splits.test
    assert test is not None
    inputs, labels = test.inputs.take(np.arange(len(test))), torch.from_numpy(test.labels)
    with torch.no_grad():
        logits = {"_first": both.first(inputs), "_second": both.second(inputs)}
        logits[""] = sum(torch.softmax(each, 1) for each in logits.values())
    for name, each in logits.items():
        accuracy = (each.argmax(1) == labels).float().mean().item()
        assert finished.result[f"test_accuracy{name}"] == pytest.approx(accuracy), name
    assert not torch.equal(logits["_first"], logits["_second"])
    assert json.loads((Path(finished.path) / "result.json").read_text()) == finished.result
    assert {"test_accuracy_first", "test_accuracy_second"} <= finished.metrics[0].keys()


def test_both_are_counted_and_kept(finished: Outcome, small_splits: Splits, tmp_path: Path) -> None:
    one = trainer_for(small_splits, tmp_path, "one", curriculum=CurriculumConfig("uniform")).n_params()
    assert trainer_for(small_splits, tmp_path, "two", curriculum=schedule_of(finished)).n_params() == 2 * one
    newest = max((Path(finished.path) / "checkpoints").glob("*.pt"))
    saved = torch.load(newest, weights_only=True)["student"]
    assert {name.partition(".")[0] for name in saved} == {"first", "second"}


def test_the_ledger_has_a_row_a_sample_and_epoch(finished: Outcome, small_splits: Splits) -> None:
    assert_one_row_per_sample_and_epoch(finished.ledger(), small_splits)


@pytest.mark.parametrize("steps", [5, 8, 13, STEPS - 1])
def test_stopped_at_any_step_they_go_on_as_if_they_had_never_stopped(
    steps: int, finished: Outcome, small_splits: Splits, tmp_path: Path
) -> None:
    """In mid-epoch, too; a checkpoint every third step."""
    changes: dict[str, Any] = {"curriculum": schedule_of(finished), "checkpoint_steps": 3}
    with pytest.raises(KeyboardInterrupt):
        trainer_for(small_splits, tmp_path, "cut", optimizer=interrupted(steps), **changes).fit()
    outcome = trainer_for(small_splits, tmp_path, "cut", resume=True, **changes).fit()
    assert_same_run(outcome, finished)


def test_what_they_can_not_go_with_is_refused_before_anything_starts(small_splits: Splits, tmp_path: Path) -> None:
    refused = functools.partial(trainer_for, small_splits, tmp_path, "refused", workers=2)
    with pytest.raises(UserError, match=r"^loss is 'gce', but the two students"):
        refused(curriculum=CurriculumConfig("co-teaching", loss="gce"))
    with pytest.raises(UserError, match="a loss of your own was given, too"):
        refused(curriculum=CurriculumConfig("co-teaching"), loss=cross_entropy)
    assert not (tmp_path / "refused").exists()


@pytest.mark.parametrize("meta_from", ["trusted", "pseudo-clean"])
@pytest.mark.parametrize("method", METHODS)
def test_without_any_trusted_sample(method: str, meta_from: str, small_splits: Splits, tmp_path: Path) -> None:
    """Neither has any use for some, nor for what looks like some."""
    schedule = dataclasses.replace(METHODS[method], meta_from=meta_from)
    outcome = trainer_for(small_splits, tmp_path, method, curriculum=schedule, meta=None, epochs=3).fit()
    assert outcome.result["test_accuracy"] > 0.8
    assert outcome.result["kept_epoch"] == 3


@pytest.mark.parametrize("augment", ["none", "flip-shift"])
def test_images_are_shown_twice_where_they_are_changed(
    augment: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And once in the warm-up, which is of one epoch here."""
    shown: list[int] = []

    def passed(student: Any, batch: Any) -> Any:
        shown.append(len(batch.inputs) // len(batch))
        return passed_through(student, batch)

    monkeypatch.setattr(dividemix, "passed_through", passed)
    monkeypatch.setattr(curriculum, "passed_through", passed)
    images = image_samples(24)
    trainer_for(
        Splits(images, None, image_samples(9), images, ()),
        tmp_path,
        augment,
        student=functools.partial(CNN, 3, 3),
        curriculum=METHODS["dividemix"],
        augment=augment,
        batch_size=12,
        epochs=3,
    ).fit()
    times = 1 if augment == "none" else 2
    assert shown == [1, 1, *8 * [times]]  # two steps, and then of each a look and the training pass
