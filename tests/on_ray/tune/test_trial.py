"""A trial, in this process: epoch by epoch, stopped, saved, taken over by another, taken up again."""

from __future__ import annotations

import dataclasses
import io
import json
import math
import resource
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
import torch
from same_values import assert_same_values
from small_runs import LARGE, STEPS, assert_same_bits, history_of, trainer_for, without_clocks
from small_sweeps import BASE, EPOCHS, MakeSmall, having, plan_for

from ray_mentor.config import StudentConfig, TrainConfig
from ray_mentor.core.student.optimizers import make_optimizer
from ray_mentor.data import Splits
from ray_mentor.errors import UserError
from ray_mentor.on_ray.tune.objective import NONE, Objective
from ray_mentor.on_ray.tune.trial import NAME, PEAK, Trial
from ray_mentor.run.checkpoint.checkpoints import Found, newest_good
from ray_mentor.run.directory import RunDirectory

pytestmark = pytest.mark.long  # trials that are killed and go on

A_STEP = STEPS // EPOCHS
NewTrial = Callable[..., Trial]


@pytest.fixture
def new_trial(tmp_path: Path) -> Iterator[NewTrial]:
    """Makes trials, each under a name of its own; none is left running."""
    made: list[Trial] = []

    def make(name: str, sample: dict[str, Any], **changes: Any) -> Trial:
        plan = plan_for(tmp_path, **changes)
        trial = type("Planned", (Trial,), {"setup": lambda self, config: Trial.setup(self, config, plan)})(
            {NAME: name, **sample}
        )
        made.append(trial)
        return trial

    yield make
    for trial in made:
        trial.cleanup()
    assert not [thread for thread in threading.enumerate() if thread.name == "run"]


def state_in(folder: Path) -> Found:
    found = newest_good(RunDirectory(str(folder)), lambda text: None)
    assert found is not None
    return found


def assert_same_state(one: Found, other: Found) -> None:
    """Bit for bit, clocks aside."""
    assert_same_bits(one.state.student, other.state.student)
    assert_same_values(one.state.optimizer, other.state.optimizer)
    assert_same_values(one.state.curriculum.table(), other.state.curriculum.table())
    assert without_clocks(one.state.log.metrics) == without_clocks(other.state.log.metrics)


def test_a_trial_is_the_run_of_its_settings(new_trial: NewTrial, small_splits: Splits, tmp_path: Path) -> None:
    trial = new_trial("one", {"update_interval": 3})
    replies = [trial.step() for _ in range(EPOCHS)]
    assert [reply["epoch"] for reply in replies] == [1, 2, 3, 4]
    assert [reply["done"] for reply in replies] == [False, False, False, True]
    alone = trainer_for(
        small_splits, tmp_path, "alone", mentor=dataclasses.replace(BASE.mentor, update_interval=3)
    ).fit()
    assert_same_bits(state_in(tmp_path / "one").state.student, alone.student_state)
    assert [reply["accuracy"] for reply in replies] == [row["trusted_accuracy"] for row in alone.metrics]
    assert replies[-1]["objective"] == replies[-1]["accuracy"]
    assert (tmp_path / "one" / "result.json").exists()


def test_what_a_process_of_its_own_held_is_written_down(new_trial: NewTrial, tmp_path: Path) -> None:
    """In 10^6 bytes; of one that shares its process nothing is known."""
    for name, alone in (("shares", False), ("alone", True)):
        trial = new_trial(name, {"update_interval": 3}, alone=alone)
        for _ in range(EPOCHS):
            trial.step()
    assert not (tmp_path / "shares" / PEAK).exists()
    said = json.loads((tmp_path / "alone" / PEAK).read_text())["peak_memory_mb"]
    now = psutil.Process().memory_info().rss / 1e6
    assert 0.8 * now < said < 1.5 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6


def test_runs_that_are_not_chosen_by_anything_need_no_held_out_sample(new_trial: NewTrial) -> None:
    nothing = BASE.changed(meta_holdout=0.0)
    trial = new_trial("one", {"update_interval": 3}, base=nothing, objective=Objective(NONE, EPOCHS))
    assert math.isnan(trial.step()["accuracy"])
    trial.cleanup()
    refused = new_trial("two", {"update_interval": 3}, base=nothing)
    with pytest.raises(UserError, match="no trusted sample is held out, but a sweep chooses by the accuracy"):
        refused.step()


def test_no_trial_of_a_search_measures_the_test_split(new_trial: NewTrial, tmp_path: Path) -> None:
    trial = new_trial("one", {"update_interval": 3})
    for _ in range(EPOCHS):
        trial.step()
    assert result_in(tmp_path / "one")["test_accuracy"] is None
    assert {row["test_accuracy"] for row in state_in(tmp_path / "one").state.log.metrics} == {None}


def test_a_listed_run_is_the_one_of_its_name_and_measures_it_if_it_is_to(new_trial: NewTrial, tmp_path: Path) -> None:
    listed = {"zero": BASE, "five": having(BASE, seed=5)}
    for name, test in (("five", True), ("zero", False)):
        trial = new_trial(name, {}, listed=listed, test=test)
        for _ in range(EPOCHS):
            trial.step()
    assert result_in(tmp_path / "five")["test_accuracy"] > 0.5
    assert result_in(tmp_path / "five")["seed"] == 5
    assert result_in(tmp_path / "zero")["test_accuracy"] is None


def result_in(folder: Path) -> dict[str, Any]:
    result: dict[str, Any] = json.loads((folder / "result.json").read_text())
    return result


def test_a_stopped_trial_leaves_no_result(new_trial: NewTrial, tmp_path: Path) -> None:
    trial = new_trial("one", {"update_interval": 3})
    trial.step()
    trial.cleanup()
    assert not (tmp_path / "one" / "result.json").exists()


def test_a_paused_trial_goes_on_where_it_was(new_trial: NewTrial, tmp_path: Path) -> None:
    paused = new_trial("one", {"update_interval": 3})
    paused.step()
    saved = tmp_path / "saved"
    saved.mkdir()
    paused.save_checkpoint(str(saved))
    paused.cleanup()
    again = new_trial("one", {"update_interval": 3})
    again.load_checkpoint(str(saved))
    assert [again.step()["epoch"] for _ in range(EPOCHS - 1)] == [2, 3, 4]
    undisturbed = new_trial("two", {"update_interval": 3})
    for _ in range(EPOCHS):
        undisturbed.step()
    assert_same_state(state_in(tmp_path / "one"), state_in(tmp_path / "two"))


@pytest.mark.parametrize("length", [0, LARGE])
def test_a_trial_takes_over_the_whole_state_of_another(length: int, new_trial: NewTrial, tmp_path: Path) -> None:
    features = ("loss", "history") if length else ("loss",)
    mentor = dataclasses.replace(BASE.mentor, mentor_features=features, history_length=length)
    plan = {"base": dataclasses.replace(BASE, mentor=mentor)}
    good = new_trial("good", {"mentor_learning_rate": 0.025}, **plan)
    good.step()
    good.step()
    saved = tmp_path / "saved"
    saved.mkdir()
    good.save_checkpoint(str(saved))
    good.cleanup()
    bad = new_trial("bad", {"mentor_learning_rate": 0.9}, **plan)
    bad.step()
    bad.reset_config({NAME: "bad", "mentor_learning_rate": 0.025})
    bad.load_checkpoint(str(saved))
    assert [bad.step()["epoch"] for _ in range(2)] == [3, 4]
    good = new_trial("good", {"mentor_learning_rate": 0.025}, **plan)
    assert [good.step()["epoch"] for _ in range(2)] == [3, 4]
    assert_same_state(state_in(tmp_path / "bad~2"), state_in(tmp_path / "good"))
    assert json.loads((tmp_path / "bad~2" / "branch.json").read_text()) == {
        "run": str(tmp_path / "good"),
        "step": 2 * A_STEP,
        "settings": {"mentor_learning_rate": 0.025},
    }
    assert (tmp_path / "bad" / "config.toml").exists(), "what it was before stays to be read"
    if length:
        found, expected = (history_of(tmp_path / name, length) for name in ("bad~2", "good"))
        assert torch.equal(found.nan_to_num(-1), expected.nan_to_num(-1))


@pytest.mark.parametrize("writes", [0, 1, 2])
def test_killed_while_it_takes_over_a_state(
    writes: int, new_trial: NewTrial, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It goes on where it was, and takes over again as if nothing had been."""

    class KilledError(BaseException):
        pass

    def write(self: RunDirectory, name: str, data: bytes) -> None:
        if len(written) == writes:
            raise KilledError
        written.append(name)
        usual(self, name, data)

    good = new_trial("good", {"mentor_learning_rate": 0.025})
    states = [tmp_path / "one", tmp_path / "two"]
    for state in states:
        good.step()
        state.mkdir()
        good.save_checkpoint(str(state))
    good.cleanup()
    bad = new_trial("bad", {"mentor_learning_rate": 0.9})
    bad.step()
    bad.cleanup()
    usual, written = RunDirectory.write, list[str]()
    with monkeypatch.context() as patch:
        patch.setattr(RunDirectory, "write", write)
        with pytest.raises(KilledError):
            bad.load_checkpoint(str(states[1]))
    again = new_trial("bad", {"mentor_learning_rate": 0.9})
    assert again.step()["epoch"] == 2
    again.cleanup()
    assert not (tmp_path / "bad~2" / "branch.json").exists()
    again.load_checkpoint(str(states[0]))
    assert again.step()["epoch"] == 2, "behind the first epoch of the good one"
    assert json.loads((tmp_path / "bad~2" / "branch.json").read_text())["step"] == A_STEP
    assert not (tmp_path / "bad~3").exists()


def test_it_goes_on_under_its_own_settings(new_trial: NewTrial, tmp_path: Path) -> None:
    good = new_trial("good", {"mentor_learning_rate": 0.025, "update_interval": 2})
    good.step()
    saved = tmp_path / "saved"
    saved.mkdir()
    good.save_checkpoint(str(saved))
    good.cleanup()
    branch = new_trial("branch", {"mentor_learning_rate": 0.001, "update_interval": 4})
    branch.load_checkpoint(str(saved))
    branch.step()
    branch.save_checkpoint(str(saved))
    mentor = state_in(tmp_path / "branch").state.curriculum.mentor
    assert mentor is not None
    payload = torch.load(io.BytesIO(mentor.payload), weights_only=True)
    assert payload["optimizer"]["param_groups"][0]["lr"] == pytest.approx(0.001 * 4)
    updates = [row["meta_updates"] for row in state_in(tmp_path / "branch").state.log.metrics]
    assert updates == [3, 4], "steps 0, 2, 4 of the good one, then 8 alone"


def test_one_process_serves_trial_after_trial(new_trial: NewTrial, tmp_path: Path) -> None:
    trial = new_trial("one", {"update_interval": 3})
    trial.step()
    assert trial.reset_config({NAME: "next", "update_interval": 2})
    assert [trial.step()["epoch"] for _ in range(EPOCHS)] == [1, 2, 3, 4]
    assert (tmp_path / "next" / "result.json").exists()


def test_a_trial_whose_process_died_goes_on_from_its_runs_checkpoint(new_trial: NewTrial, tmp_path: Path) -> None:
    dies = new_trial("one", {"update_interval": 3}, make=MakeSmall(fails_at(12)))
    dies.step()
    dies.step()
    with pytest.raises(RuntimeError, match="as planned"):
        dies.step()
    again = new_trial("one", {"update_interval": 3})
    assert [again.step()["epoch"] for _ in range(2)] == [3, 4]
    undisturbed = new_trial("two", {"update_interval": 3})
    for _ in range(EPOCHS):
        undisturbed.step()
    assert_same_state(state_in(tmp_path / "one"), state_in(tmp_path / "two"))


def test_a_trial_that_was_done_when_its_process_died_says_so_again(new_trial: NewTrial) -> None:
    first = new_trial("one", {"update_interval": 3})
    last = [first.step() for _ in range(EPOCHS)][-1]
    again = new_trial("one", {"update_interval": 3}).step()
    assert again["done"]
    assert again["accuracy"] == last["accuracy"]


def test_a_finished_run_of_other_settings_is_not_believed(new_trial: NewTrial) -> None:
    first = new_trial("one", {"update_interval": 3})
    for _ in range(EPOCHS):
        first.step()
    with pytest.raises(UserError, match=r"update_interval is 2, but run .*/one was started with 3"):
        new_trial("one", {"update_interval": 2}).step()


def test_a_result_without_a_checkpoint_is_not_believed(new_trial: NewTrial, tmp_path: Path) -> None:
    first = new_trial("one", {"update_interval": 3})
    for _ in range(EPOCHS):
        first.step()
    for file in (tmp_path / "one" / "checkpoints").glob("*.pt"):
        file.unlink()
    with pytest.raises(UserError) as refused:
        new_trial("one", {"update_interval": 3}).step()
    assert str(refused.value) == (
        f"run {tmp_path}/one has a result.json, but no checkpoint that says what it came to; remove its result.json, "
        "and it is trained again"
    )


def test_a_result_whose_last_checkpoint_is_damaged_is_not_believed(new_trial: NewTrial, tmp_path: Path) -> None:
    """Or it would answer with an epoch before its last, again and again."""
    first = new_trial("one", {"update_interval": 3})
    for _ in range(EPOCHS):
        first.step()
    max((tmp_path / "one" / "checkpoints").glob("*.pt")).write_bytes(b"not a checkpoint")
    with pytest.raises(UserError, match=r"has a result.json, but no checkpoint that says what it came to"):
        new_trial("one", {"update_interval": 3}).step()


def test_a_trial_whose_mentor_collapses_is_ended(new_trial: NewTrial) -> None:
    floors = dataclasses.replace(BASE.mentor, min_effective_share=0.99)  # no weights but equal ones get past this
    base = having(dataclasses.replace(BASE, mentor=floors), epochs=3 * EPOCHS)
    trial = new_trial("one", {"update_interval": 1}, base=base, objective=Objective("accuracy", 3 * EPOCHS))
    replies = [trial.step()]
    while not replies[-1]["done"]:
        replies.append(trial.step())
    assert replies[-1]["hopeless"]
    assert replies[-1]["epoch"] < 3 * EPOCHS


def test_gap_per_cost_is_measured_from_equal_weights(new_trial: NewTrial) -> None:
    plain = [{"epoch": n, "trusted_accuracy": 0.1, "train_seconds": 0.5 * (n + 1)} for n in range(EPOCHS)]
    trial = new_trial("one", {"update_interval": 3}, objective=Objective("gap-per-cost", EPOCHS, plain))
    reply = trial.step()
    cost = reply["seconds"] / EPOCHS / 0.5
    assert reply["objective"] == pytest.approx((reply["accuracy"] - 0.1) / cost)


def fails_at(step: int) -> Callable[[TrainConfig], Any]:
    """Makes optimizers that fail at a step."""

    def make(config: TrainConfig) -> Any:
        def optimizer(params: Any) -> torch.optim.Optimizer:
            made = make_optimizer(params, StudentConfig(learning_rate=0.02))
            steps = 0

            def count(*_: Any) -> None:
                nonlocal steps
                steps += 1
                if steps == step:
                    raise RuntimeError("as planned")

            made.register_step_pre_hook(count)
            return made

        return optimizer

    return make
