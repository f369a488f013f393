"""What a user brings to the trainer: data sets, students, losses, optimizers, settings; in this process."""

from __future__ import annotations

import dataclasses
import functools
import math
import tomllib
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.compute as pc
import pytest
import ray.train
import torch
from small_runs import MENTOR, assert_same_bits, assert_same_run, trainer_for, without_clocks
from torch import Tensor
from torch.utils.data import Dataset

from ray_mentor.config import CurriculumConfig, MentorConfig, TrainConfig
from ray_mentor.core.mentor.mentor_file import MENTOR_FILE, frozen_from
from ray_mentor.core.mentor.networks.cmw import scales_of
from ray_mentor.core.step.features import Features
from ray_mentor.data import FeatureInputs, Samples, Splits
from ray_mentor.errors import StoppedByUser, UserError
from ray_mentor.on_ray.train.trainer import CurriculumTrainer
from ray_mentor.run.outcome import Outcome

pytestmark = pytest.mark.long  # runs that are stopped and go on


class Points(Dataset[tuple[Tensor, int]]):
    """A user's own data set."""

    def __init__(self, n: int, seed: int, wrong: float = 0.0) -> None:
        draw = np.random.default_rng(seed)
        self.labels = np.arange(n) % 2
        self.points = (3.0 * self.labels[:, None] + draw.standard_normal((n, 5))).astype(np.float32)
        self.given = np.where(draw.random(n) < wrong, 1 - self.labels, self.labels)

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        return torch.from_numpy(self.points[index]), int(self.given[index])


class Focal:
    """A user's own per-sample loss, with a setting of its own."""

    def __init__(self, gamma: float) -> None:
        self.gamma = gamma

    def __call__(self, logits: Tensor, labels: Tensor) -> Tensor:
        surprise = torch.nn.functional.cross_entropy(logits, labels, reduction="none")
        return (1 - torch.exp(-surprise)) ** self.gamma * surprise


def user_student() -> torch.nn.Module:
    return torch.nn.Sequential(torch.nn.Linear(5, 8), torch.nn.ReLU(), torch.nn.Linear(8, 2))


def user_trainer(storage: Path, **changes: Any) -> CurriculumTrainer:
    arguments: dict[str, Any] = {
        "student": user_student,
        "loss": Focal(1.0),
        "mentor": MentorConfig(update_interval=2, meta_batch_size=10),
        "epochs": 3,
        "batch_size": 20,
        "scaling_config": ray.train.ScalingConfig(num_workers=0),
        "run_config": ray.train.RunConfig(name="own", storage_path=str(storage)),
    }
    data = {"data": Points(100, 1, wrong=0.3), "meta": Points(20, 2), "test": Points(40, 3)}
    return CurriculumTrainer(**{**arguments, **data, **changes})


def wide_student() -> torch.nn.Module:
    return torch.nn.Linear(5, 4)


def test_a_student_of_other_classes_is_refused_before_it_trains(tmp_path: Path) -> None:
    for method in ("mentornet-dd", "co-teaching"):
        with pytest.raises(UserError) as raised:
            user_trainer(tmp_path, student=wide_student, loss=None, method=method)
        assert str(raised.value) == (
            "student 'wide_student' returns (2, 4) for 2 samples of 2 classes, but it must return their logits, of "
            "shape (2, 2); let its forward return them"
        )
    user_trainer(tmp_path, student=wide_student)  # a loss of one's own may make of it what it likes


def constant_student() -> torch.nn.Module:
    """Of a bias that one epoch can't turn."""
    student = torch.nn.Linear(5, 2)
    torch.nn.init.zeros_(student.weight)
    student.bias.data = torch.tensor([50.0, -50.0])
    return student


def test_unscaled_features_and_a_constant_answer_are_said(tmp_path: Path) -> None:
    def part(n: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
        points = Points(n, seed)
        return points.points * np.array([1e-4, 1, 1, 1, 1], np.float32) * 1e-3, points.labels

    rows: list[dict[str, Any]] = []
    trainer = user_trainer(
        tmp_path, student=constant_student, data=part(100, 1), meta=part(60, 2), test=None, epochs=1, loss=None
    )
    notes = trainer.fit(rows.append).result["notes"]
    assert any("nothing is scaled" in str(row.get("text")) for row in rows)
    assert "warning: the student says one class, '0', of all 18 held-out trusted samples" in notes[0]
    assert "nothing is scaled" in notes[-1]


def test_a_users_own_data_student_loss_and_optimizer(tmp_path: Path) -> None:
    outcome = user_trainer(
        tmp_path, epochs=10, clean_test=True, optimizer=functools.partial(torch.optim.Adam, lr=0.02)
    ).fit()
    assert outcome.result["test_accuracy"] > 0.9
    assert outcome.result["test_agreement"] is None
    assert outcome.result["noise_auroc"] is None
    assert sorted(set(outcome.ledger()["sample_id"].to_pylist())) == list(range(100))


def test_the_users_loss_is_the_one_in_the_ledger(tmp_path: Path) -> None:
    torch.manual_seed(0)
    losses = user_trainer(tmp_path, epochs=1, loss=Focal(0.0)).fit().ledger()["loss"].to_numpy()
    halved = user_trainer(tmp_path / "b", epochs=1, loss=Focal(2.0)).fit().ledger()["loss"].to_numpy()
    assert losses[0] > halved[0] > 0


def test_a_loss_that_is_already_a_mean_is_refused(tmp_path: Path) -> None:
    with pytest.raises(
        ValueError, match=r"shape \(\) for 23 samples, but it must return one value per sample"
    ) as raised:
        user_trainer(tmp_path, loss=torch.nn.functional.cross_entropy).fit()
    assert "give reduction='none'" in str(raised.value)


def test_an_optimizer_whose_step_mixes_elements_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="optimizer is Adafactor, but its step mixes elements"):
        user_trainer(tmp_path, optimizer=functools.partial(torch.optim.Adafactor, lr=0.01)).fit()


def test_an_optimizer_without_a_formula_is_measured(tmp_path: Path) -> None:
    outcome = user_trainer(tmp_path, optimizer=functools.partial(torch.optim.NAdam, lr=0.01)).fit()
    assert outcome.result["meta_updates"] > 0


def test_the_global_random_state_does_not_steer_a_run(tmp_path: Path) -> None:
    torch.manual_seed(1)
    one = user_trainer(tmp_path / "a").fit()
    torch.manual_seed(2)
    other = user_trainer(tmp_path / "b").fit()
    assert_same_bits(one.student_state, other.student_state)
    assert without_clocks(one.metrics) == without_clocks(other.metrics)
    assert all(math.isfinite(row["loss"] or math.nan) for row in one.metrics)


def test_settings_come_as_a_config_and_the_rest_by_name(tmp_path: Path) -> None:
    config = TrainConfig().changed(epochs=9, workers=0, storage_path=str(tmp_path), update_interval=2)
    trainer = CurriculumTrainer(user_student, Points(100, 1), Points(20, 2), config=config, run_name="n", epochs=1)
    assert trainer.config == config.changed(run_name="n", epochs=1)
    assert trainer.directory.path == f"{tmp_path}/n"
    assert trainer.fit().result["steps"] == 1
    written = tomllib.loads((tmp_path / "n/config.toml").read_text())
    assert (written["epochs"], written["update_interval"], written["learning_rate"]) == (1, 2, 0.08)
    assert not written.keys() & {"data", "student", "noise", "resume"}


def test_what_rays_configs_say_is_what_is_recorded(tmp_path: Path) -> None:
    trainer = user_trainer(
        tmp_path,
        run_config=ray.train.RunConfig(
            name="own",
            storage_path=str(tmp_path),
            checkpoint_config=ray.train.CheckpointConfig(num_to_keep=5),
            failure_config=ray.train.FailureConfig(max_failures=7),
        ),
        scaling_config=ray.train.ScalingConfig(num_workers=(2, 3)),
    )
    run = trainer.config.run
    assert (run.workers, run.min_workers, run.keep_checkpoints, run.max_failures, run.run_name) == (3, 2, 5, 7, "own")


def test_the_settings_optimizer_is_used_where_none_is_given(tmp_path: Path) -> None:
    slow, fast = (user_trainer(tmp_path, learning_rate=rate, run_config=None, run_name=str(rate),
                               storage_path=str(tmp_path)).fit() for rate in (1e-9, 0.1))  # fmt: skip
    assert slow.metrics[-1]["loss"] == pytest.approx(slow.metrics[0]["loss"], abs=0.05)
    assert fast.metrics[-1]["loss"] < slow.metrics[-1]["loss"]


def test_an_unknown_setting_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="unknown setting 'epoch'; nearest valid: epochs"):
        user_trainer(tmp_path, epoch=3)


class Shaken(Points):
    """A data set with a random transform, as torchvision's."""

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        point, label = super().__getitem__(index)
        return point + 0.1 * torch.randn(5), label


@pytest.mark.parametrize("train", [Points, Shaken])
def test_who_reads_a_data_set_decides_nothing(train: type[Points], tmp_path: Path) -> None:
    """Bit for bit the same run, with transforms that draw from PyTorch's generator, too."""
    data = train(100, 1, wrong=0.3)
    students = [
        user_trainer(tmp_path / str(readers), data=data, data_workers=readers, student=with_dropout).fit().student_state
        for readers in (0, 2)
    ]
    assert_same_bits(*students)


def with_dropout() -> torch.nn.Module:
    return torch.nn.Sequential(torch.nn.Linear(5, 8), torch.nn.Dropout(0.5), torch.nn.Linear(8, 2))


def test_a_run_whose_data_are_read_ahead_goes_on_as_if_it_had_never_stopped(tmp_path: Path) -> None:
    shaken: dict[str, Any] = {"data": Shaken(100, 1), "data_workers": 2}
    whole = user_trainer(tmp_path / "whole", **shaken).fit()

    def stop(row: dict[str, Any]) -> None:
        if row["kind"] == "epoch":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        user_trainer(tmp_path / "cut", checkpoint_steps=1, **shaken).fit(stop)
    outcome = user_trainer(tmp_path / "cut", checkpoint_steps=1, resume=True, **shaken).fit()
    assert_same_bits(outcome.student_state, whole.student_state)
    assert without_clocks(outcome.metrics) == without_clocks(whole.metrics)


def test_readers_of_what_nobody_has_to_read_are_refused(tmp_path: Path) -> None:
    arrays = Samples(FeatureInputs(np.eye(4, dtype=np.float32)), np.arange(4), np.arange(4) % 2, None, ("a", "b"))
    with pytest.raises(UserError) as raised:
        user_trainer(tmp_path, data=arrays, meta=arrays, test=None, data_workers=2)
    assert str(raised.value) == (
        "data_workers is 2, but all inputs are arrays, which nobody has to read ahead; leave it out"
    )
    with pytest.raises(UserError) as raised:
        user_trainer(tmp_path, data_workers=-1)
    assert str(raised.value) == "data_workers is -1, but it must be at least 0"


# A mentor that does not begin as a fresh one


def stop(row: dict[str, Any]) -> None:
    """Ctrl-C after two epochs."""
    if row["kind"] == "epoch" and row["epoch"] == 1:
        raise KeyboardInterrupt


def first_step(outcome: Outcome) -> tuple[Tensor, Tensor]:
    """Losses and scored weights of the first step."""
    ledger = outcome.ledger().filter(pc.equal(outcome.ledger()["step"], 0))
    return tuple(torch.tensor(ledger[name].to_numpy()) for name in ("loss", "scored_weight"))  # type: ignore[return-value]


def said_by(path: str, loss: Tensor) -> Tensor:
    """What a run's last mentor says of the first step of a run."""
    difference = loss - float(torch.quantile(loss.double(), MENTOR.loss_percentile))
    n = len(loss)
    seen = Features(loss, difference, torch.zeros(n, dtype=torch.long), torch.zeros(n), torch.zeros(n, 0))
    return frozen_from(path).network.sample_weights(seen).detach()


@pytest.mark.slow
def test_a_mentor_begins_as_another_runs_and_goes_on_from_its_own_checkpoints(
    small_splits: Splits, tmp_path: Path
) -> None:
    first = trainer_for(small_splits, tmp_path, "first").fit()
    changes = {"mentor": dataclasses.replace(MENTOR, mentor_from=first.path)}
    whole = trainer_for(small_splits, tmp_path, "whole", **changes).fit()
    loss, weights = first_step(whole)
    torch.testing.assert_close(weights, said_by(first.path, loss), rtol=1e-5, atol=1e-6)
    assert float(weights.std()) > 0.01
    assert float(first_step(first)[1].std()) < 1e-6, "a fresh mentor says the same of all"
    with pytest.raises(StoppedByUser):
        trainer_for(small_splits, tmp_path, "stopped", **changes).fit(stop)
    assert_same_run(trainer_for(small_splits, tmp_path, "stopped", resume=True, **changes).fit(), whole)


def test_a_refined_mentor_goes_on_from_its_own_checkpoints(small_splits: Splits, tmp_path: Path) -> None:
    changes = {"curriculum": CurriculumConfig("mentornet-pd", refine=True, burn_in=0.0)}
    whole = trainer_for(small_splits, tmp_path, "whole", **changes).fit()
    assert (whole.result["method"], whole.result["meta_updates"]) == ("mentornet-refined", 10)
    assert frozen_from(whole.path).network.state_dict()["percent_embedding"].shape == (100, 5)
    with pytest.raises(StoppedByUser):
        trainer_for(small_splits, tmp_path, "stopped", **changes).fit(stop)
    assert_same_run(trainer_for(small_splits, tmp_path, "stopped", resume=True, **changes).fit(), whole)


def test_a_mentor_that_knows_how_large_classes_are_goes_on_from_its_own_checkpoints(
    small_splits: Splits, tmp_path: Path
) -> None:
    changes = {"mentor": dataclasses.replace(MENTOR, mentor="cmw")}
    whole = trainer_for(small_splits, tmp_path, "whole", **changes).fit()
    membership = frozen_from(whole.path).network.state_dict()["membership"]
    assert membership.argmax(dim=1).tolist() == scales_of(small_splits.train.class_sizes)
    with pytest.raises(StoppedByUser):
        trainer_for(small_splits, tmp_path, "stopped", **changes).fit(stop)
    assert_same_run(trainer_for(small_splits, tmp_path, "stopped", resume=True, **changes).fit(), whole)


@pytest.mark.parametrize("steps", [5, 3])
def test_a_mentor_that_is_taught_goes_on_from_its_own_checkpoints(
    steps: int, small_splits: Splits, tmp_path: Path
) -> None:
    """Stopped at the end of an epoch and within one."""
    curriculum = CurriculumConfig("mentornet-dd", taught_at=(0.2, 0.7))
    changes = {"curriculum": curriculum, "checkpoint_steps": steps, "checkpoint_seconds": 1e6}
    rows: list[dict[str, Any]] = []
    whole = trainer_for(small_splits, tmp_path, "whole", **changes).fit(rows.append)
    said = [row["text"] for row in rows if row["kind"] == "note" and "was taught" in row["text"]]
    assert [text.partition(" % of training")[0] for text in said] == ["at 25", "at 75"]
    weights = whole.ledger().to_pandas().groupby("epoch")["scored_weight"].std()
    assert weights[0] == 0
    assert (weights[1:] > 0.1).all()
    with pytest.raises(StoppedByUser):
        trainer_for(small_splits, tmp_path, "stopped", **changes).fit(stop)
    assert_same_run(trainer_for(small_splits, tmp_path, "stopped", resume=True, **changes).fit(), whole)
    frozen = {
        "mentor": dataclasses.replace(MENTOR, mentor_from=whole.path),
        "curriculum": CurriculumConfig("mentornet-frozen", burn_in=0.0),
    }
    loss, found = first_step(trainer_for(small_splits, tmp_path, "frozen", **frozen).fit())
    torch.testing.assert_close(found, said_by(whole.path, loss), rtol=1e-5, atol=1e-6)
    assert float(found.std()) > 0.01


@pytest.mark.parametrize("changes", [{"meta_from": "pseudo-clean"}, {"loss": "forward"}])
def test_what_a_mentor_was_taught_is_not_what_another_part_has_found(
    changes: dict[str, str], small_splits: Splits, tmp_path: Path
) -> None:
    curriculum = CurriculumConfig("mentornet-dd", taught_at=(0.2, 0.7), **changes)
    taught = trainer_for(small_splits, tmp_path, "taught", curriculum=curriculum).fit()
    frozen = {
        "mentor": dataclasses.replace(MENTOR, mentor_from=taught.path),
        "curriculum": CurriculumConfig("mentornet-frozen", burn_in=0.0),
    }
    _, found = first_step(trainer_for(small_splits, tmp_path, "frozen", **frozen).fit())
    assert float(found.std()) > 0.01


def test_a_frozen_mentor_stays_what_it_was(small_splits: Splits, tmp_path: Path) -> None:
    first = trainer_for(small_splits, tmp_path, "first").fit()
    changes = {
        "mentor": dataclasses.replace(MENTOR, mentor_from=first.path),
        "curriculum": CurriculumConfig("mentornet-frozen", burn_in=0.0),
    }
    frozen = trainer_for(small_splits, tmp_path, "frozen", **changes).fit()
    loss, weights = first_step(frozen)
    torch.testing.assert_close(weights, said_by(first.path, loss), rtol=1e-5, atol=1e-6)
    assert frozen.result["meta_updates"] == 0
    assert not (Path(frozen.path) / MENTOR_FILE).exists()


def test_a_mentor_that_sees_something_else_is_refused_before_anything_is_written(
    small_splits: Splits, tmp_path: Path
) -> None:
    first = trainer_for(small_splits, tmp_path, "first").fit()
    other = dataclasses.replace(MENTOR, mentor_from=first.path, mentor_hidden=(9,))
    with pytest.raises(UserError, match=r"has mentor_hidden \[8\], but the one that is to begin so has \[9\]"):
        trainer_for(small_splits, tmp_path, "second", mentor=other)
    assert not (tmp_path / "second").exists()
