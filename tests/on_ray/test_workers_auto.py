"""How many workers a run gets that is told no number, and that it says so."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import ray.train
import torch
from small_runs import trainer_for
from torch import nn

from ray_mentor import TrainConfig
from ray_mentor.config.file import read_config
from ray_mentor.data import FeatureInputs, Samples, Splits
from ray_mentor.errors import UserError
from ray_mentor.on_ray.train.given import workers
from ray_mentor.on_ray.train.given.workers import chosen
from ray_mentor.training import _streamed_by_workers as streamed_by_workers

SMALL = "the student is small, and workers would wait for one another longer than they work"


def data(n: int) -> Samples:
    labels = np.arange(n) % 2
    return Samples(FeatureInputs(np.zeros((n, 8), np.float32)), np.arange(n), labels, labels, ("a", "b"))


def splits(n: int, trusted: int = 10) -> Splits:
    return Splits(data(n), None, data(trusted), None, ())


def wide() -> nn.Module:
    return nn.Linear(8, 20_000)


def small() -> nn.Module:
    return nn.Linear(8, 2)


class Machine:
    """What a run sees of it."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self._patch = patch
        patch.delenv("RAY_ADDRESS", raising=False)
        patch.setattr(ray, "is_initialized", lambda: False)
        self.has(cores=2, gpus=0)

    def has(
        self, *, cores: int = 2, gpus: int = 0, ray_at: str | None = None, ray_here: dict[str, float] | None = None
    ) -> None:
        self._patch.setattr(workers, "cores_here", lambda: cores)
        self._patch.setattr(torch.cuda, "device_count", lambda: gpus)
        self._patch.setattr(torch.cuda, "is_available", lambda: gpus > 0)
        if ray_at is not None:
            self._patch.setenv("RAY_ADDRESS", ray_at)
        if ray_here is not None:
            self._patch.setattr(ray, "is_initialized", lambda: True)
            self._patch.setattr(ray, "cluster_resources", lambda: ray_here)


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Machine:
    return Machine(monkeypatch)


def choice(student: Callable[[], nn.Module], n: int, trusted: int = 10, **changes: Any) -> tuple[int, str]:
    found = chosen(TrainConfig().changed(**changes), splits(n, trusted), student, None, None)
    return found.workers, found.why


@pytest.mark.parametrize(
    ("student", "n", "changes", "there", "workers", "why"),
    [
        (small, 100_000, {"epochs": 10_000}, {}, 0, SMALL),
        (wide, 1000, {}, {}, 0, "about 2 s of one core's work, too little for workers, which take 25 s to start"),
        (wide, 100_000, {"epochs": 30}, {}, 0, "about 107 s of one core's work, too little for workers, which take 25 "
                                                "s to start"),
        (wide, 100_000, {"epochs": 50}, {}, 2, "about 3 minutes of one core's work"),
        (wide, 100_000, {"epochs": 6_000}, {}, 2, "about 6 hours of one core's work"),
        (wide, 100_000, {"epochs": 50}, {"cores": 1}, 0, "there is one CPU"),
        (wide, 100_000, {"epochs": 50}, {"cores": 1, "ray_at": "auto"}, 2, "about 3 minutes of one core's work"),
        (wide, 100_000, {"epochs": 50, "estimator": "unrolled"}, {}, 0, "the estimator unrolled needs one process"),
        (wide, 1000, {"gpu": True}, {"gpus": 1}, 0, "there is one GPU"),
        (wide, 1000, {"gpu": True}, {"gpus": 0}, 0, "there is no GPU"),
        (wide, 1000, {"gpu": True}, {"gpus": 4}, 4, "one for each GPU"),
        (wide, 1000, {"gpu": True, "gpus_per_worker": 2}, {"gpus": 4}, 2, "2 GPUs each"),
        (wide, 1000, {"gpu": True, "gpus_per_worker": 2}, {"gpus": 2}, 0, "there are GPUs for one worker"),
        (wide, 1000, {"gpu": True, "gpus_per_worker": 0.5}, {"gpus": 2}, 2, "one for each GPU"),
        (wide, 1000, {"gpu": True}, {"gpus": 1, "ray_here": {"GPU": 1.0}}, 0, "there is one GPU"),
        (wide, 1000, {"gpu": True}, {"gpus": 1, "ray_here": {"GPU": 9.0}}, 2, "one for each GPU"),
        (wide, 1000, {"gpu": True}, {"gpus": 0, "ray_here": {"CPU": 1.0}}, 2, "a Ray is there"),
        (wide, 100_000, {"epochs": 50}, {"cores": 8, "ray_here": {"CPU": 1.0}}, 0, "there is one CPU"),
        (wide, 100_000, {"epochs": 50}, {"cores": 1, "ray_here": {"CPU": 8.0}}, 2, "about 3 minutes of one "
                                                                                  "core's work"),
        (wide, 1000, {"gpu": True}, {"gpus": 0, "ray_at": "auto"}, 2, "a Ray is there"),
        (small, 1000, {"gpu": True}, {"gpus": 4}, 0, SMALL),
        (small, 1000, {"gpu": True}, {"gpus": 0, "ray_at": "auto"}, 2, "a Ray is there"),
    ],
)  # fmt: skip
def test_by_the_size_of_the_run(
    machine: Machine, student: Callable[[], nn.Module], n: int, changes: dict[str, Any], there: dict[str, Any],
    workers: int, why: str,
) -> None:  # fmt: skip
    machine.has(**there)
    assert choice(student, n, **changes) == (workers, why)


def test_no_more_than_have_a_trusted_sample_each(machine: Machine) -> None:
    machine.has(gpus=8)
    assert choice(wide, 1000, 3, gpu=True)[0] == 3
    assert choice(wide, 1000, 1, gpu=True) == (0, "each worker needs a sample of each batch and a trusted one")


def strided() -> nn.Module:
    return nn.Sequential(nn.Conv2d(3, 64, 7, stride=2, padding=3), nn.AdaptiveAvgPool2d(1), nn.Flatten())


def test_work_is_counted_as_it_is_done() -> None:
    """Not at all pixels where a convolution strides, and on the tokens that texts have."""
    images = FeatureInputs(np.zeros((4, 3 * 32 * 32), np.float32))
    images.ones = lambda: torch.ones(2, 3, 32, 32)  # type: ignore[method-assign]
    assert workers._work(strided(), images) == 64 * 3 * 7 * 7 * 16 * 16
    texts = Texts()
    layers = nn.Sequential(nn.Embedding(10, 4), nn.Linear(4, 5))
    assert workers._work(layers, texts) == 4 * 5 * 7.5  # of 30 tokens that the longest has
    assert workers._work(nn.Linear(3, 2), texts) == 7.5 * (3 * 2 + 2)  # it can't take them


class Texts(FeatureInputs):
    """Token ids: 7.5 a text, and 30 at most."""

    positions = 7.5  # type: ignore[assignment]

    def __init__(self) -> None:
        super().__init__(np.zeros((4, 30), np.float32))

    def ones(self) -> torch.Tensor:
        return torch.ones(2, 30, dtype=torch.int64)


def test_the_choice_is_said_first_and_written(small_splits: Splits, tmp_path: Path) -> None:
    rows: list[dict[str, Any]] = []
    trainer = trainer_for(small_splits, tmp_path, "run", scaling_config=None, epochs=1)
    outcome = trainer.fit(rows.append)
    assert rows[0] == {
        "kind": "note",
        "text": f"workers: 0, this process trains ({SMALL}; --workers 2 starts two, on Ray)",
    }
    assert outcome.result["workers"] == trainer.config.run.workers == 0
    assert read_config(str(tmp_path / "run/config.toml"))["workers"] == 0


def test_a_number_is_taken_as_it_is_and_nothing_said(small_splits: Splits, tmp_path: Path) -> None:
    rows: list[dict[str, Any]] = []
    trainer_for(
        small_splits, tmp_path, "run", scaling_config=None, config=TrainConfig().changed(workers=0), epochs=1
    ).fit(rows.append)
    assert rows[0]["kind"] == "started"


def test_a_run_that_goes_on_keeps_its_choice(
    machine: Machine, small_splits: Splits, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where a longer run would get workers."""
    trainer_for(small_splits, tmp_path, "run", scaling_config=None, epochs=1).fit()
    monkeypatch.setattr(workers, "SMALL", 0)
    monkeypatch.setattr(workers, "WORTH_SECONDS", 0.0)
    fresh = trainer_for(small_splits, tmp_path, "fresh", scaling_config=None, epochs=2)
    again = trainer_for(small_splits, tmp_path, "run", scaling_config=None, epochs=2, resume=True)
    assert (fresh.config.run.workers, again.config.run.workers) == (2, 0)
    rows: list[dict[str, Any]] = []
    again.fit(rows.append)
    assert rows[0]["text"] == (
        "workers: 0, this process trains (as the run was started; --workers 2 starts two, on Ray)"
    )
    assert rows[1]["text"] == (
        "the run was started with 1 epoch and goes on to 2, from here on under the schedule of the longer run "
        "(learning rate, burn-in, how often the mentor learns): it does not end as one that was started with 2"
    )


@pytest.mark.parametrize("kind", ["path", "home", "URI"])
def test_a_streamed_run_that_goes_on_keeps_its_choice_wherever_it_lies(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    """Asked before the data are read."""
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "runs/run").mkdir(parents=True)
    (tmp_path / "runs/run/config.toml").write_text("workers = 3\n")
    storage = {"path": str(tmp_path / "runs"), "home": "~/runs", "URI": f"file://{tmp_path}/runs"}[kind]
    asked = TrainConfig().changed(data_backend="ray", run_name="run", storage_path=storage)
    assert streamed_by_workers(asked.changed(resume=True)).run.workers == 3
    assert streamed_by_workers(asked.changed(resume_or_start=True)).run.workers == 3
    assert streamed_by_workers(asked).run.workers == 2


def test_what_only_workers_do_gets_workers(small_splits: Splits, tmp_path: Path) -> None:
    run = ray.train.RunConfig(
        name="run", storage_path=str(tmp_path), failure_config=ray.train.FailureConfig(max_failures=2)
    )
    trainer = trainer_for(small_splits, tmp_path, "run", scaling_config=None, run_config=run)
    assert trainer.config.run.workers == 2
    assert str(trainer._choice) == (
        "workers: 2, on Ray (run_config asks for what only workers do; --workers 0 trains in this process)"
    )


def test_what_student_is_built_to_be_counted_draws_nothing(machine: Machine) -> None:
    torch.manual_seed(3)
    before = torch.get_rng_state()
    choice(wide, 1000)
    assert torch.equal(torch.get_rng_state(), before)


def test_settings(tmp_path: Path) -> None:
    (tmp_path / "a.toml").write_text('workers = "auto"\n')
    assert TrainConfig.from_flat(read_config(str(tmp_path / "a.toml"))) == TrainConfig()
    for value, said in (("two", "it must be of type int or auto"), (-1, "it must be at least 0, or auto")):
        with pytest.raises(UserError) as raised:
            TrainConfig().changed(workers=value)
        assert str(raised.value) == f"workers is {value!r}, but {said}"
    with pytest.raises(UserError) as raised:
        dataclasses.replace(TrainConfig().run, min_workers=1)
    assert str(raised.value) == "min_workers is 1, but workers is auto; give --workers, too"
