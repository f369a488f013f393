"""Runs on data of every kind that is given in Python: each is the run on a torch data set of the same, bit for bit."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pandas as pd
import pytest
import ray.data
import torch
from same_values import assert_same_values
from small_runs import make_small_splits, trainer_for
from torch.utils.data import TensorDataset

from ray_mentor.data import Samples
from ray_mentor.errors import UserError
from ray_mentor.run.outcome import Outcome
from ray_mentor.training import train

pytestmark = pytest.mark.long  # a dozen runs

SPLITS = make_small_splits()


def arrays(samples: Samples) -> tuple[Any, Any]:
    return samples.inputs.take(np.arange(len(samples))).numpy(), samples.labels


def frame(samples: Samples) -> pd.DataFrame:
    x, y = arrays(samples)
    return pd.DataFrame({**{f"x{place}": x[:, place] for place in range(8)}, "kind": y})


def tensors(samples: Samples) -> TensorDataset:
    return TensorDataset(*map(torch.from_numpy, arrays(samples)))


def tensor_rows(samples: Samples) -> ray.data.Dataset:
    x, y = arrays(samples)
    return ray.data.from_items([{"x": row, "kind": label} for row, label in zip(x, y.tolist(), strict=True)])


KINDS: dict[str, Callable[[Samples], Any]] = {
    "arrays": arrays,
    "pandas": frame,
    "hugging face": lambda samples: datasets.Dataset.from_pandas(frame(samples)),
}


def trained(make: Callable[[Samples], Any], folder: Path, **more: Any) -> Outcome:
    named = {"train": SPLITS.train, "meta": SPLITS.meta, "test": SPLITS.test, "validation": SPLITS.validation}
    given = {name: make(samples) for name, samples in named.items() if samples is not None}
    nothing = dict.fromkeys(("data", "meta", "test", "validation"))
    return trainer_for(SPLITS, folder, "run", **nothing, datasets=given, label_column="kind", **more).fit()


@pytest.fixture(scope="module")
def torchs(tmp_path_factory: pytest.TempPathFactory) -> Outcome:
    return trained(tensors, tmp_path_factory.mktemp("torch"))


def assert_same(outcome: Outcome, other: Outcome) -> None:
    assert_same_values(outcome.student_state, other.student_state)
    drop = [name for name in outcome.ledger().column_names if name.endswith("seconds")]
    assert outcome.ledger().drop_columns(drop).equals(other.ledger().drop_columns(drop))
    for name in ("test_agreement", "trusted_accuracy", "noise_auroc", "steps"):
        assert outcome.result.get(name) == other.result.get(name)
    assert outcome.result["test_agreement"] > 0.8


@pytest.mark.parametrize("kind", KINDS)
def test_a_run_is_that_of_a_torch_data_set(torchs: Outcome, kind: str, tmp_path: Path) -> None:
    assert_same(trained(KINDS[kind], tmp_path), torchs)


@pytest.mark.usefixtures("local_ray")
@pytest.mark.parametrize("make", [lambda samples: ray.data.from_pandas(frame(samples)), tensor_rows])
def test_of_ray_data_too(torchs: Outcome, make: Callable[[Samples], Any], tmp_path: Path) -> None:
    assert_same(trained(make, tmp_path), torchs)


def test_data_with_names_for_classes(tmp_path: Path) -> None:
    def named(samples: Samples) -> pd.DataFrame:
        table = frame(samples)
        return table.assign(kind=np.array(["ant", "bee", "cow"])[table["kind"]])

    trained(named, tmp_path)
    assert (tmp_path / "run/classes.json").read_text() == '["ant", "bee", "cow"]'


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"data": arrays(SPLITS.train), "datasets": {"train": arrays(SPLITS.train)}},
         "datasets and data are both given, but they say the same; give one of them"),
        ({"datasets": {"trian": arrays(SPLITS.train)}},
         "datasets holds 'trian', but its names are train, validation, meta, test, of which train must be there; mend "
         "them"),
        ({"datasets": {"meta": arrays(SPLITS.meta)}},
         "datasets has no 'train', but its names are train, validation, meta, test, of which train must be there; mend "
         "them"),
        ({}, "there is no training data; give data, or datasets={'train': ...}"),
        ({"data": frame(SPLITS.train), "meta": frame(SPLITS.meta).drop(columns="x3"), "label_column": "kind"},
         "meta: the data has no column 'x3'; its columns are "),
    ],
)  # fmt: skip
def test_what_is_refused(given: dict[str, Any], says: str, tmp_path: Path) -> None:
    nothing = dict.fromkeys(("data", "meta", "test", "validation"))
    with pytest.raises(UserError) as raised:
        trainer_for(SPLITS, tmp_path, "run", **{**nothing, **given})
    assert says in str(raised.value)


def test_what_the_command_does_takes_settings_alone() -> None:
    data: Any
    for data in (pd.DataFrame({"a": [1.0]}), "digits.csv"):
        with pytest.raises(UserError, match=r"train takes settings, a TrainConfig, but is given a .*CurriculumTrainer"):
            train(data)
