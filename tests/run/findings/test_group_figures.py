"""What became of each group, by hand."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest
import torch
from thread_ranks import on_ranks

from ray_mentor.core.exchange import AbstractExchange, Alone
from ray_mentor.data import FeatureInputs, Samples, Splits
from ray_mentor.data.plan.batches import rank_slice
from ray_mentor.data.samples.sources.domains import Domains
from ray_mentor.report.breakdown import group_rows
from ray_mentor.run.checkpoint.kept import KeptState
from ray_mentor.run.directory import RunDirectory
from ray_mentor.run.findings.group_figures import by_group, group_figures, said_of_groups
from ray_mentor.run.findings.predictions import PREDICTIONS

NAMES = ("barn", "lake", "wood")


def samples(groups: list[int] | None, n: int = 0) -> Samples:
    n = n if groups is None else len(groups)
    of = None if groups is None else Domains(NAMES, np.array(groups, np.int64))
    inputs, labels = FeatureInputs(np.zeros((n, 2), np.float32)), np.zeros(n, np.int64)
    return Samples(inputs, np.arange(n), labels, None, ("a", "b"), groups=of)


SPLITS = Splits(samples([0] * 6 + [1] * 3 + [2]), None, samples([0, 0, 1]), samples([0, 0, 0, 1, 1, 2]), ())
HELD_OUT = samples([0, 0, 1])


def run_of(path: Path, right: list[bool]) -> RunDirectory:
    directory = RunDirectory(str(path))
    directory.create()
    table = pa.table(
        {"sample_id": range(len(right)), "label": [0] * len(right), "predicted": [0 if r else 1 for r in right]}
    )
    pyarrow.parquet.write_table(table, path / PREDICTIONS)
    return directory


def kept(hits: list[bool], last: list[bool]) -> KeptState:
    return KeptState(0, torch.tensor(hits), 1, torch.tensor(last), {})


def test_by_hand(tmp_path: Path) -> None:
    """Of the barn two of three are right, of the lake one of two, of the wood the one."""
    directory = run_of(tmp_path, [True, True, False, True, False, True])
    found = group_figures(directory, SPLITS, HELD_OUT, kept([False] * 3, [True, False, True]))
    assert (found["test_worst_group"], found["test_worst_group_accuracy"]) == ("lake", 0.5)
    assert (found["trusted_worst_group"], found["trusted_worst_group_accuracy"]) == ("barn", 0.5)
    assert found["groups"] == [
        {
            "group": "barn",
            "training_samples": 6,
            "trusted_samples": 2,
            "trusted_held_out": 2,
            "test_samples": 3,
            "trusted_accuracy": 0.5,
            "test_accuracy": pytest.approx(2 / 3),
        },
        {
            "group": "lake",
            "training_samples": 3,
            "trusted_samples": 1,
            "trusted_held_out": 1,
            "test_samples": 2,
            "trusted_accuracy": 1.0,
            "test_accuracy": 0.5,
        },
        {
            "group": "wood",
            "training_samples": 1,
            "trusted_samples": 0,
            "trusted_held_out": 0,
            "test_samples": 1,
            "trusted_accuracy": None,
            "test_accuracy": 1.0,
        },
    ]
    json.dumps(found, allow_nan=False)
    rows = [(name, form.format(value)) for name, value, form in group_rows({"test_accuracy": None, **found})]
    assert found["test_worst_group_by"] == "agreement"
    assert rows == [
        (
            "worst group by agreement with the test split's given labels (lower where a group's are wrong): lake",
            "0.5000",
        ),
        ("worst group by accuracy on held-out trusted samples: barn", "0.5000"),
        ("  group lake, 3 training samples", "0.500 of 2 test (given labels), 1.000 of 1 held-out trusted"),
        ("  group barn, 6 training samples", "0.667 of 3 test (given labels), 0.500 of 2 held-out trusted"),
        ("  group wood, 1 training samples", "1.000 of 1 test (given labels)"),
    ]


def test_where_the_truth_is_known_it_is_accuracy(tmp_path: Path) -> None:
    assert SPLITS.test is not None
    known = dataclasses.replace(SPLITS.test, true_labels=SPLITS.test.labels)
    found = group_figures(run_of(tmp_path, [True] * 5 + [False]), dataclasses.replace(SPLITS, test=known), None, None)
    assert found["test_worst_group_by"] == "accuracy"
    rows = [(name, form.format(value)) for name, value, form in group_rows({"test_accuracy": 0.6, **found}) if value]
    assert rows[0] == ("  group wood, 1 training samples", "0.000 of 1 test")
    names = [name for name, *_ in group_rows({"test_accuracy": 0.6, **found})]
    assert names[0] == "worst group by accuracy on the test split: wood"


@pytest.mark.parametrize("ranks", [1, 2])
def test_each_epoch_has_a_figure_a_group(ranks: int) -> None:
    """Of three samples of the barn two are right, of two of the lake one, of the wood none is there; on each rank."""
    split, right = samples([0, 0, 0, 1, 1]), torch.tensor([True, False, True, False, True])

    def found(exchange: AbstractExchange) -> dict[str, float | None]:
        own = rank_slice(np.arange(5), exchange.rank, exchange.world_size)
        return by_group("test_accuracy", split, right[torch.from_numpy(own)], exchange)

    for each in on_ranks(ranks, found):
        assert each == {
            "test_accuracy_by_group/barn": pytest.approx(2 / 3),
            "test_accuracy_by_group/lake": 0.5,
            "test_accuracy_by_group/wood": None,
        }


def test_of_many_groups_or_none_there_are_no_columns() -> None:
    many = Domains(tuple(map(str, range(21))), np.zeros(2, np.int64))
    right = torch.ones(2, dtype=torch.bool)
    assert by_group("test_accuracy", dataclasses.replace(samples(None, 2), groups=many), right, Alone()) == {}
    assert by_group("test_accuracy", samples(None, 2), right, Alone()) == {}
    assert by_group("trusted_accuracy", samples([0, 1]), -torch.ones(2), Alone()) == {}, "bits per byte"


def test_an_earlier_student_that_is_kept_is_the_one_that_is_told_of(tmp_path: Path) -> None:
    held_out = samples([0] * 10 + [1] * 10)
    state = kept([True] * 19 + [False], [True] * 8 + [False] * 12)
    assert state.is_earlier
    found = group_figures(run_of(tmp_path, [True] * 6), SPLITS, held_out, state)
    assert (found["trusted_worst_group"], found["trusted_worst_group_accuracy"]) == ("lake", 0.9)


def test_what_is_not_known_is_none(tmp_path: Path) -> None:
    directory = RunDirectory(str(tmp_path))
    assert group_figures(directory, dataclasses.replace(SPLITS, train=samples(None, 3)), None, None) == {}
    found = group_figures(directory, dataclasses.replace(SPLITS, test=None, meta=samples(None, 3)), None, None)
    assert found["test_worst_group"] is found["test_worst_group_accuracy"] is found["trusted_worst_group"] is None
    assert [each["trusted_samples"] for each in found["groups"]] == [None] * 3
    assert [each["test_samples"] for each in found["groups"]] == [0] * 3


def test_sizes_are_said_and_groups_that_nobody_vouches_for() -> None:
    assert said_of_groups(SPLITS) == [
        "3 groups of training samples: barn 6 (trusted 2), lake 3 (trusted 1), wood 1 (trusted 0)",
        "warning: no trusted sample is of group wood: trusted accuracy says nothing of what is right there; add some, "
        "or --meta-balance groups where they are drawn",
    ]
    assert said_of_groups(dataclasses.replace(SPLITS, meta=samples(None, 0))) == [
        "3 groups of training samples: barn 6, lake 3, wood 1"
    ]
    assert said_of_groups(dataclasses.replace(SPLITS, meta=samples(None, 2)))[1:] == [
        "the trusted samples have no column of groups, so nothing is said of groups by them"
    ]
    assert said_of_groups(dataclasses.replace(SPLITS, train=samples(None, 2))) == []
