"""A student that says one class of everything is called that, on the test split or on held-out trusted samples."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest
import torch

from ray_mentor.data import FeatureInputs, Samples
from ray_mentor.run.checkpoint.kept import KeptState
from ray_mentor.run.directory import RunDirectory
from ray_mentor.run.findings.one_answer import one_answer, said_of_all

LABELS = np.array([0] * 7 + [1] * 13)
CONSTANT = (
    "which is right on 0.650 of them: it tells no classes apart, and its figures are those of a constant. Scale "
    "features alike, or give another --learning-rate or more --epochs"
)


def of(directory: Path, predicted: list[int] | None, hits: list[bool] | None) -> str | None:
    run = RunDirectory(str(directory))
    if predicted is not None:
        table = pa.table({"sample_id": range(20), "label": LABELS, "predicted": predicted})
        pyarrow.parquet.write_table(table, directory / "predictions.parquet")
    if hits is None:
        return one_answer(run, ("cat", "ox"), None, None)
    held = Samples(FeatureInputs(np.zeros((20, 1), np.float32)), np.arange(20), LABELS, None, ("cat", "ox"))
    right = torch.tensor(hits)
    return one_answer(run, ("cat", "ox"), held, KeptState(0, right, 0, right, {}))


@pytest.mark.parametrize(
    ("predicted", "hits", "said"),
    [
        ([1] * 20, None, "of all 20 samples of the test split, "),
        (None, [False] * 7 + [True] * 13, "of all 20 held-out trusted samples, "),
        ([0] + [1] * 19, None, None),
        (None, [True] + [False] * 6 + [True] * 13, None),
        (None, [False] * 8 + [True] * 12, None),
        (None, [False] * 20, None),
        (None, None, None),
    ],
)
def test_what_is_said(tmp_path: Path, predicted: list[int] | None, hits: list[bool] | None, said: str | None) -> None:
    found = of(tmp_path, predicted, hits)
    assert found == (None if said is None else f"warning: the student says one class, 'ox', {said}{CONSTANT}")


def test_samples_of_one_class_show_nothing() -> None:
    assert said_of_all(np.ones(20, np.int64), np.ones(20, np.bool_)) is None
