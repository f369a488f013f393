"""How many trusted samples: the cells, labels taken for right that are not, the table."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import trusted
from protocol import trusted_table
from protocol.methods import MENTOR, METHODS
from protocol.regimes import HUMAN, SYMMETRIC
from protocol.trusted_table import BASELINE, CLEAN, NOISY, WITHOUT

from ray_mentor import TrainConfig
from ray_mentor.data.splits.splits import prepare


def test_both_methods_have_both_kinds_of_labels_and_without_any_those_that_need_none() -> None:
    cells = trusted.cells_of("digits", [SYMMETRIC], [0, 10], [100])
    assert [(cell["trusted"], cell["labels"], cell["method"]) for cell in cells] == [
        *((0, CLEAN, method) for method in WITHOUT),
        *((10, labels, method) for labels in (CLEAN, NOISY) for method in (BASELINE, MENTOR)),
    ]
    assert set(WITHOUT) < set(METHODS)


@pytest.mark.parametrize("noise", [SYMMETRIC, "asymmetric:0.4"])
def test_labels_taken_for_right_are_as_wrong_as_all_others(noise: str) -> None:
    splits = prepare(TrainConfig().data, 3)
    found = trusted.distrusted(splits, {"noise": noise, "seed": 3}, Path())
    assert found.train is splits.train
    assert found.meta.true_labels is None
    wrong = found.meta.labels != splits.meta.labels
    assert wrong.sum() == 40
    assert trusted.distrusted(splits, {"noise": noise, "seed": 3}, Path()).meta.labels.tolist() == (
        found.meta.labels.tolist()
    )


def test_labels_that_people_gave_are_found_by_id(tmp_path: Path) -> None:
    splits = prepare(TrainConfig().data, 0)
    ids = np.random.default_rng(0).permutation(2000)
    pq.write_table(pa.table({"sample_id": ids, "random1": (ids % 10).astype(np.int8)}), tmp_path / "people.parquet")
    found = trusted.distrusted(splits, {"noise": HUMAN, "seed": 0}, tmp_path / "people.parquet")
    assert found.meta.labels.tolist() == (splits.meta.ids % 10).tolist()


def test_the_table_pairs_seeds() -> None:
    def row(method: str, size: int, labels: str, seed: int, accuracy: float) -> dict[str, str]:
        return {"regime": "digits", "noise": SYMMETRIC, "trusted": str(size), "labels": labels, "method": method,
                "seed": str(seed), "test_accuracy": str(accuracy)}  # fmt: skip

    rows = [
        row(BASELINE, 10, NOISY, 100, 0.9), row(BASELINE, 10, NOISY, 101, 0.8), row(MENTOR, 10, NOISY, 100, 0.95),
        row(WITHOUT[0], 0, CLEAN, 100, 0.9), row(WITHOUT[1], 0, CLEAN, 100, 0.8), row(MENTOR, 10, CLEAN, 100, 0.9),
        {**row(MENTOR, 10, NOISY, 101, 0.1), "regime": "A"},
    ]  # fmt: skip
    assert trusted_table.markdown(rows, "digits").splitlines()[2:] == [
        f"| {SYMMETRIC} | 0 | – | 0.900 ± 0.000 | 0.800 ± 0.000 | −10.0 |",
        f"| {SYMMETRIC} | 10 | right | – | 0.900 ± 0.000 | – |",
        f"| {SYMMETRIC} | 10 | noisy | 0.850 ± 0.071 | 0.950 ± 0.000 | +5.0 |",
    ]
