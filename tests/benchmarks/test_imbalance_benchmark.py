"""benchmarks/imbalance.py: its methods can be run, and its table says mean and spread over the seeds of the report."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import imbalance
import pytest
from protocol.rows import Rows, read

from ray_mentor import TrainConfig
from ray_mentor.core.methods.table import check_one_loss, method_of


@pytest.mark.parametrize("method", imbalance.METHODS)
def test_methods_are_settings_and_have_the_same_means(method: str) -> None:
    base = imbalance.base_of("digits")
    config = base.changed(**imbalance.METHODS[method])
    check_one_loss(config.curriculum, None)
    method_of(config.curriculum.method)
    assert (config.data, config.student, config.run) == (base.data, base.student, base.run)
    shared = ("meta_holdout",)
    assert all(getattr(config.mentor, name) == getattr(base.mentor, name) for name in shared)
    assert config.curriculum.in_training == base.curriculum.in_training == 1.0


@pytest.mark.long
def test_a_row() -> None:
    short = dataclasses.replace(imbalance.base_of("digits"), run=TrainConfig().changed(epochs=2).run)
    cell = {"noise": "imb:0.4", "method": "mentor-la", "learning_rate": 0.08, "seed": 0}
    row = imbalance.RunCell(short)(cell)
    assert set(row) == set(imbalance.FIGURES)
    assert row["worst_class"] <= row["balanced_accuracy"] <= max(row["many"], row["medium"], row["few"])


def test_the_table(tmp_path: Path) -> None:
    rows = Rows(tmp_path / "rows.csv", imbalance.KEY, imbalance.FIGURES)
    for seed, (whole, few) in enumerate([(0.8, 0.5), (0.9, 0.7)]):
        cell = {"data": "digits", "noise": "imb:0.4", "method": "mentor", "learning_rate": 0.08, "seed": seed}
        rows.add(cell, {"balanced_accuracy": whole, "few": few})
    assert imbalance.table(read(rows.path), ["mentor", "ldam-drw"]).splitlines() == [
        "| method | imb:0.4 | few |",
        "|---|---|---|",
        "| mentor | 0.850 ± 0.071 | 0.600 |",
        "| ldam-drw |  |  |",
    ]
