"""The benchmark of groups: what its data are, that methods have the same means, and its table."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from grouped import running
from grouped.patches import AGREES, GROUPS, with_patches
from protocol.rows import Rows, read

from ray_mentor import TrainConfig
from ray_mentor.core.methods.table import check_one_loss, method_of
from ray_mentor.data import prepare


def test_the_patch_says_the_class_in_training_and_nothing_elsewhere() -> None:
    splits = with_patches(prepare(running.base_of().data, 0), 0)
    for samples, share in ((splits.train, AGREES), (splits.meta, 0.5), (splits.test, 0.5)):
        assert samples is not None
        assert samples.groups is not None
        assert samples.groups.names == GROUPS
        assert np.array_equal(samples.groups.of // 2, samples.labels)
        inputs = samples.inputs.take(np.arange(len(samples)))[:, 0]
        right = (inputs[:, :2, -2:] == 1).flatten(1).all(dim=1).numpy()
        assert right[samples.groups.of % 2 == 1].all()
        for label in (0, 1):
            of_class = samples.labels == label
            agreeing = (samples.groups.of[of_class] % 2 == label).mean()
            assert agreeing == pytest.approx(share, abs=1 / of_class.sum())


@pytest.mark.parametrize("method", running.METHODS)
def test_methods_are_settings_and_have_the_same_means(method: str) -> None:
    base = running.base_of()
    config = base.changed(**running.METHODS[method])
    check_one_loss(config.curriculum, None)
    method_of(config.curriculum.method)
    assert (config.data, config.student, config.run) == (base.data, base.student, base.run)
    assert config.mentor.meta_holdout == base.mentor.meta_holdout


@pytest.mark.long
@pytest.mark.parametrize("method", ["group-dro-even", "learned-mixture"])
def test_a_row(method: str) -> None:
    short = dataclasses.replace(running.base_of(), run=TrainConfig().changed(epochs=2).run)
    row = running.RunCell(short)({"method": method, "learning_rate": 0.08, "seed": 0})
    assert set(row) == set(running.FIGURES)
    assert row["worst_group"] <= min(row["agreeing"], row["contrary"])


def test_the_table(tmp_path: Path) -> None:
    rows = Rows(tmp_path / "rows.csv", running.KEY, running.FIGURES)
    for seed, worst in enumerate((0.4, 0.6)):
        cell = {"method": "group-dro", "learning_rate": 0.08, "seed": seed}
        rows.add(cell, {"worst_group": worst, "contrary": 0.625, "agreeing": 0.9, "cpu_seconds": 4.0})
    assert running.table(read(rows.path), ["group-dro", "mentornet"]).splitlines()[2:] == [
        "| `group-dro` | 0.08 | 0.500 ± 0.141 | 0.625 | 0.900 | 4.0 |"
    ]
