"""Runs of seconds, and what they leave behind."""

from __future__ import annotations

import functools
import io
import json
import re
import tomllib
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import ray.train
import torch
from same_values import assert_same_values
from torch import Tensor

from ray_mentor.config import CurriculumConfig, MentorConfig, StudentConfig
from ray_mentor.core.exchange import Alone
from ray_mentor.core.history.table import LossHistory
from ray_mentor.core.student.optimizers import make_optimizer
from ray_mentor.data import FeatureInputs, Samples, Splits, add_noise
from ray_mentor.on_ray.train.trainer import CurriculumTrainer
from ray_mentor.run.checkpoint.checkpoints import LARGEST_INSIDE, newest_good
from ray_mentor.run.checkpoint.history_files import HistoryFiles
from ray_mentor.run.directory import RunDirectory
from ray_mentor.run.outcome import Outcome
from ray_mentor.students import MLP

EPOCHS, BATCH, INTERVAL = 4, 32, 2
STEPS = EPOCHS * 5  # 150 samples in ⌈150 / 32⌉ batches
MENTOR = MentorConfig(update_interval=INTERVAL, meta_batch_size=20, mentor_hidden=(8,), mentor_learning_rate=0.025)
LARGE = LARGEST_INSIDE // (4 * 150) + 1
"""A history length with which the small splits' loss history is a large one, and has files of its own."""

UNMIXED = CurriculumConfig(burn_in=0.0, mixing="none")
"""For what other numbers of workers must give too: each rank mixes with partners of its own."""

CLOCKS = ("samples_per_second", "train_seconds")
"""The figures of a metrics row that a clock has a say in."""


def make_small_splits() -> Splits:
    """Three blobs in eight dimensions: 150 training samples, 30 % of whose labels are wrong, learnt in seconds."""
    draw = np.random.default_rng(0)
    centres = 2.5 * draw.standard_normal((3, 8))

    def blobs(n: int, first_id: int) -> Samples:
        labels = np.arange(n) % 3
        values = (centres[labels] + draw.standard_normal((n, 8))).astype(np.float32)
        return Samples(FeatureInputs(values), first_id + np.arange(n), labels, labels, ("a", "b", "c"))

    train, validation = (add_noise(blobs(n, first), "symmetric", 0.3, 0, i) for i, (n, first) in enumerate(_NOISY))
    return Splits(train, validation, blobs(30, 30_000), blobs(90, 40_000), ())


_NOISY = ((150, 10_000), (45, 20_000))  # sizes and first ids of the splits whose labels are not trusted
_TRUSTED = 30 - round(MentorConfig.meta_holdout * 30)  # of the meta set, that the student is trained on


def trainer_for(splits: Splits, storage: Path, name: str, *, workers: int = 0, **changes: Any) -> CurriculumTrainer:
    """A small trainer; ``changes`` replace its arguments."""
    optimizer = functools.partial(make_optimizer, config=StudentConfig(learning_rate=0.02))
    arguments: dict[str, Any] = {
        "student": functools.partial(MLP, 8, 3, (16,)),
        "data": splits.train,
        "meta": splits.meta,
        "test": splits.test,
        "validation": splits.validation,
        "mentor": MENTOR,
        "curriculum": CurriculumConfig(burn_in=0.0),
        "optimizer": optimizer,
        "epochs": EPOCHS,
        "batch_size": BATCH,
        "checkpoint_steps": 5,
        "scaling_config": ray.train.ScalingConfig(num_workers=workers),
        "run_config": ray.train.RunConfig(name=name, storage_path=str(storage)),
    }
    return CurriculumTrainer(**{**arguments, **changes})


def interrupted(steps: int) -> Any:
    """An optimizer's maker: Ctrl-C in its step of this number."""

    def make(params: Any) -> torch.optim.Optimizer:
        optimizer = make_optimizer(params, StudentConfig(learning_rate=0.02))
        left = steps

        def count(*_: Any) -> None:
            nonlocal left
            left -= 1
            if left == 0:
                raise KeyboardInterrupt

        optimizer.register_step_post_hook(count)
        return optimizer

    return make


def outcome_of(path: Path) -> Outcome:
    """What a finished run left in its directory."""
    state = newest_good(RunDirectory(str(path)), lambda text: None)
    assert state is not None
    result = json.loads((path / "result.json").read_text())
    return Outcome(result, state.state.log.metrics, str(path), state.state.student)


def names_in(folder: Path) -> set[str]:
    """The files in a folder of a run, without who wrote them."""
    return {WRITER.sub("", file.name) for file in folder.iterdir() if file.is_file()}


WRITER = re.compile("-[0-9a-f]{16}")


def without_clocks(metrics: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{name: value for name, value in row.items() if name not in CLOCKS} for row in metrics]


def in_order(ledger: pa.Table) -> pa.Table:
    """A ledger's rows by epoch and sample, whoever wrote them when."""
    if pa.types.is_dictionary(ledger["sample_id"].type):
        ledger = ledger.set_column(0, "sample_id", ledger["sample_id"].cast(pa.large_string()))
    return ledger.sort_by([(name, "ascending") for name in ("epoch", "sample_id", "step")]).combine_chunks()


def assert_same_bits(found: dict[str, Tensor], expected: dict[str, Tensor]) -> None:
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        assert torch.equal(found[name], value), name


def assert_same_run(found: Outcome, expected: Outcome) -> None:
    """Bit for bit the same student, mentor, optimizers, memories, metrics, result and ledger; clocks aside."""
    assert_same_bits(found.student_state, expected.student_state)
    assert without_clocks(found.metrics) == without_clocks(expected.metrics)
    assert {k: v for k, v in found.result.items() if k not in RESULT_CLOCKS} == {
        k: v for k, v in expected.result.items() if k not in RESULT_CLOCKS
    }
    assert json.loads((Path(found.path) / "result.json").read_text()) == found.result
    assert_same_values(carried(found), carried(expected))
    assert in_order(found.ledger()).equals(in_order(expected.ledger()))


RESULT_CLOCKS = ("train_seconds", "wall_seconds", "phase_seconds", "part_seconds", "samples_per_second", "workers")


def carried(outcome: Outcome) -> dict[str, Any]:
    """All that the run's last checkpoint holds, clocks aside."""
    newest = max((Path(outcome.path) / "checkpoints").glob("*.pt"))
    table: dict[str, Any] = torch.load(newest, weights_only=True)
    mentor = table["curriculum"]["mentor"]
    if mentor is not None:
        mentor["payload"] = torch.load(io.BytesIO(mentor["payload"]), weights_only=True)
    if table.pop("history_pieces") is not None:
        length = tomllib.loads((Path(outcome.path) / "config.toml").read_text())["history_length"]
        table["curriculum"]["history"] = history_of(outcome.path, length)
    log = table["log"]
    return {**table, "log": {"metrics": without_clocks(log["metrics"]), "meta losses": log["tally"]["meta_losses"]}}


def history_of(path: Path | str, length: int) -> Tensor:
    """The loss history of all samples, where the run's newest checkpoint has files for it."""
    found = newest_good(RunDirectory(str(path)), lambda text: None)
    assert found is not None
    assert found.state.history_pieces is not None
    history = LossHistory(_NOISY[0][0] + _TRUSTED, length)
    HistoryFiles(RunDirectory(str(path)), Alone(), history).load(found.state.history_pieces)
    return history.table


def assert_one_row_per_sample_and_epoch(ledger: pa.Table, splits: Splits, epochs: int = EPOCHS) -> None:
    counts = ledger.group_by(["sample_id", "epoch"]).aggregate([([], "count_all")])
    assert len(counts) == len(ledger) == epochs * len(splits.train)
    assert pc.all(pc.equal(counts["count_all"], 1)).as_py()
    assert set(ledger["sample_id"].to_pylist()) == set(splits.train.ids.tolist())
    assert_says_what_the_student_said(ledger)


def assert_says_what_the_student_said(ledger: pa.Table) -> None:
    """The given label is the predicted one just where it lies above all others."""
    predicted, margin = ledger["predicted_label"].to_numpy(), ledger["margin"].to_numpy()
    assert set(predicted.tolist()) == {0, 1, 2}
    assert np.isfinite(margin).all()
    assert np.array_equal(predicted == ledger["given_label"].to_numpy(), margin > 0)
