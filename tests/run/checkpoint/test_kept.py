"""Which epoch's student a run keeps, and that it is kept through checkpoints."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest
import torch
from small_runs import EPOCHS, STEPS, assert_same_bits, assert_same_run, trainer_for
from tiny_states import go_on, started, state_of
from torch import Tensor, nn

from ray_mentor.data import Splits
from ray_mentor.errors import UserError
from ray_mentor.on_ray.train import worker_loop
from ray_mentor.run.accuracy import Measured
from ray_mentor.run.checkpoint.checkpoints import newest_good
from ray_mentor.run.checkpoint.kept import Kept, KeptState, kept_student
from ray_mentor.run.checkpoint.state import RunState, restore


def hits(right: int, count: int = 30) -> Tensor:
    return torch.arange(count) < right


def kept_of(*right: int, rank: int = 0) -> tuple[Kept, list[dict[str, Tensor]]]:
    """After epochs with so many hits of 30; and the student at the end of each."""
    kept, student, after = Kept(rank), nn.Linear(2, 2), []
    for epoch, count in enumerate(right):
        with torch.no_grad():
            student.weight += 1.0
        kept.note(epoch, hits(count), student)
        after.append({name: value.clone() for name, value in student.state_dict().items()})
    return kept, after


@pytest.mark.parametrize(
    ("right", "epoch"),
    [
        ((20, 25, 28), 2),
        ((20, 28, 20), 1),
        ((20, 28, 27), 2),  # one of 30: d has mean 0.033 and standard error 0.033
        ((20, 28, 25), 2),  # 0.1 and 0.056
        ((20, 28, 24), 1),  # 0.133 and 0.063
        ((28, 20, 28, 20), 2),  # the latest of equals
        ((0, 0), 1),
    ],
)
def test_an_earlier_epoch_is_kept_only_if_it_is_clearly_better(right: tuple[int, ...], epoch: int) -> None:
    kept, after = kept_of(*right)
    assert kept.state is not None
    assert kept.state.kept_epoch == epoch
    assert_same_bits(kept_student(kept.state, after[-1]), after[epoch])


@pytest.mark.parametrize(
    ("losses", "epoch"),
    [
        ((3.0, 2.5, 2.0), 2),
        ((3.0, 2.0, 2.5), 1),
        ((2.0, 3.0, 2.01), 2),  # 0.01 ± 0.018, half of the windows better and half worse
        ((2.0, 3.0, 2.1), 0),
    ],
)
def test_of_text_the_epoch_of_the_fewest_bits_is_kept(losses: tuple[float, ...], epoch: int) -> None:
    spread = torch.linspace(-1, 1, 30, dtype=torch.float64)
    kept, after = Kept(0), []
    for number, loss in enumerate(losses):
        own = torch.where(torch.arange(30) % 2 == number % 3 // 2, 0.1, -0.1)  # another half each time, but the first
        kept.note(number, -(loss + spread + own), student := nn.Linear(2, 2))
        after.append({name: value.clone() for name, value in student.state_dict().items()})
    assert kept.state is not None
    assert kept.state.kept_epoch == epoch
    assert_same_bits(kept_student(kept.state, after[-1]), after[epoch])


def test_one_held_out_sample_decides_nothing() -> None:
    kept = Kept(0)
    for epoch, right in enumerate((1, 0)):
        kept.note(epoch, hits(right, 1), nn.Linear(2, 2))
    assert kept.state is not None
    assert kept.state.kept_epoch == 1


def test_where_nothing_is_held_out_the_last_student_is_kept() -> None:
    kept = Kept(0)
    kept.note(0, None, nn.Linear(2, 2))
    assert kept.state is None
    assert kept_student(None, {"a": 1}) == {"a": 1}


def test_hits_on_other_samples_begin_anew() -> None:
    kept, _ = kept_of(28)
    kept.note(1, hits(3, 20), nn.Linear(2, 2))
    assert kept.state is not None
    assert (kept.state.epoch, len(kept.state.hits)) == (1, 20)


def test_rank_0_alone_holds_the_student() -> None:
    kept, _ = kept_of(28, 20, rank=1)
    assert kept.state is not None
    assert kept.state.student == {}
    kept.load(kept_of(28)[0].state)
    assert kept.state.student == {}


@pytest.fixture
def luck(monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs whose second epoch does far better on held-out samples than any other."""
    real = worker_loop.measured

    def measured(curriculum: Any, *rest: Any, **more: Any) -> Measured:
        found = real(curriculum, *rest, **more)
        right = hits(9 if curriculum.step_number == 2 * STEPS // EPOCHS else 2, 9)
        return dataclasses.replace(found, hits=right)

    monkeypatch.setattr(worker_loop, "measured", measured)


@pytest.mark.usefixtures("luck")
def test_what_is_kept_is_handed_over_and_written_down(small_splits: Splits, tmp_path: Path) -> None:
    outcome = trainer_for(small_splits, tmp_path, "lucky").fit()
    short = trainer_for(small_splits, tmp_path, "short", epochs=EPOCHS)

    class Stop(Exception):  # noqa: N818
        pass

    def after_two(row: dict[str, Any]) -> None:
        if row["kind"] == "epoch" and row["epoch"] == 2:
            raise Stop

    with pytest.raises(Stop):
        short.fit(after_two)
    state = newest_good(short.directory, lambda text: None)
    assert state is not None
    assert state.state.curriculum.step == 2 * STEPS // EPOCHS
    assert outcome.result["kept_epoch"] == 2
    assert outcome.result["test_accuracy"] == outcome.metrics[1]["test_accuracy"]
    assert (outcome.result["trusted_accuracy"], outcome.result["trusted_held_out"]) == (1.0, 9)
    assert outcome.result["notes"][0] == (
        "kept is the student of epoch 2, not of the last, 4: of 9 held-out trusted samples it was right on 9, the last "
        "one on 2; it was chosen by that figure, which flatters it"
    )
    assert_same_bits(outcome.student_state, state.state.student)
    written = torch.load(Path(outcome.path) / "student/state_dict.pt", weights_only=True)
    assert_same_bits(written, outcome.student_state)


@pytest.mark.usefixtures("luck")
@pytest.mark.parametrize("after", [1, 2])
def test_a_stopped_run_keeps_the_same_student(after: int, small_splits: Splits, tmp_path: Path) -> None:
    def stop(row: dict[str, Any]) -> None:
        if row["kind"] == "epoch" and row["epoch"] == after:
            raise KeyboardInterrupt

    whole = trainer_for(small_splits, tmp_path, "whole").fit()
    with pytest.raises(KeyboardInterrupt):
        trainer_for(small_splits, tmp_path, "stopped").fit(stop)
    again = trainer_for(small_splits, tmp_path, "stopped", resume=True).fit()
    assert again.result["kept_epoch"] == 2
    assert_same_run(again, whole)


STUDENT: dict[str, Any] = {"student": {}}


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"epoch": -1}, "kept.epoch"),
        ({"last_epoch": 0.5}, "kept.last_epoch"),
        ({"hits": torch.zeros(3)}, "kept.hits"),
        ({"hits": None}, "kept.hits"),
        ({"hits": torch.zeros(0, dtype=torch.bool)}, "kept.hits"),
        ({"last_hits": hits(2, 4)}, "kept.last_hits"),
        (STUDENT, "kept.student"),
    ],
)
def test_what_no_run_would_have_kept_is_refused(change: dict[str, Any], says: str) -> None:
    run = started()
    go_on(*run, range(2))
    state = state_of(*run)
    good = KeptState(0, hits(2, 3), 1, hits(1, 3), state.student)
    restore(RunState.from_bytes(dataclasses.replace(state, kept=good).to_bytes(), "x"), *started())
    bad = dataclasses.replace(state, kept=dataclasses.replace(good, **change))
    with pytest.raises(UserError, match=rf"\b{says}\b"):
        restore(RunState.from_bytes(bad.to_bytes(), "x"), *started())
