"""The sums that a run's page draws are those of the ledger's rows, counted again in another way."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import torch
from made_runs import CLASSES, made_ledger, made_run

from ray_mentor.core.step.percentile import RunningPercentile
from ray_mentor.report.run.differences import Differences, whole_steps
from ray_mentor.report.run.folder import read_folder
from ray_mentor.report.run.ledger_facts import BARS, DIFFERENCES, LOSSES, LedgerFacts, _empty, ledger_facts

SAMPLES, EPOCHS = 60, 6


def facts_and_rows(folder: Path, *, truth: bool = True) -> tuple[LedgerFacts, pd.DataFrame]:
    ledger = made_ledger(SAMPLES, EPOCHS, truth=truth)
    directory = made_run(folder, samples=SAMPLES, epochs=EPOCHS, ledger=ledger)
    facts = ledger_facts(directory, read_folder(directory))
    assert facts is not None
    return facts, ledger.to_pandas()


def test_sums_are_those_of_right_and_of_wrong_labels(tmp_path: Path) -> None:
    facts, rows = facts_and_rows(tmp_path)
    rows["wrong"] = (rows["given_label"] != rows["true_label"]).astype(int)
    by = rows.groupby(["epoch", "wrong"])
    assert facts.truth
    assert facts.count.tolist() == by.size().unstack().to_numpy().tolist()
    np.testing.assert_allclose(facts.scored, by["scored_weight"].sum().unstack(), rtol=1e-6)
    np.testing.assert_allclose(facts.weight, by["sample_weight"].sum().unstack(), rtol=1e-6)
    squares = rows.assign(square=rows["sample_weight"].astype(float) ** 2).groupby(["epoch", "wrong"])["square"].sum()
    np.testing.assert_allclose(facts.square, squares.unstack(), rtol=1e-6)
    bars = [np.histogram(each["scored_weight"], np.linspace(0, 1, BARS + 1))[0] for _, each in rows.groupby("epoch")]
    np.testing.assert_array_equal(facts.bars.sum(axis=1), bars)


def test_sums_by_class_and_by_loss(tmp_path: Path) -> None:
    facts, rows = facts_and_rows(tmp_path)
    by = rows.groupby(["epoch", "given_label"])
    assert facts.class_count.shape == (EPOCHS, len(CLASSES))
    np.testing.assert_allclose(facts.class_loss, by["loss"].sum().unstack(), rtol=1e-5)
    np.testing.assert_allclose(facts.class_scored, by["scored_weight"].sum().unstack(), rtol=1e-5)
    cell = np.minimum(rows["loss"].astype(float) / facts.highest * LOSSES, LOSSES - 1).astype(int)
    np.testing.assert_array_equal(facts.cells.sum(axis=(0, 2)), np.bincount(cell, minlength=LOSSES))
    sums = np.bincount(cell, rows["scored_weight"], minlength=LOSSES)
    np.testing.assert_allclose(facts.loss_scored.sum(axis=(0, 1)), sums, rtol=1e-6)
    assert facts.cells.sum() == facts.plane_count.sum() == len(rows)
    np.testing.assert_allclose(facts.plane_scored.sum(axis=(0, 2)), sums, rtol=1e-6)


def test_without_the_truth_all_rows_are_one_group(tmp_path: Path) -> None:
    facts, rows = facts_and_rows(tmp_path, truth=False)
    assert not facts.truth
    assert facts.count.tolist() == [[SAMPLES, 0]] * EPOCHS
    np.testing.assert_allclose(facts.scored[:, 0], rows.groupby("epoch")["scored_weight"].sum(), rtol=1e-6)


def test_a_long_run_has_twenty_frames_and_each_epoch_is_in_one(tmp_path: Path) -> None:
    directory = made_run(tmp_path, samples=8, epochs=47)
    facts = ledger_facts(directory, read_folder(directory))
    assert facts is not None
    assert facts.frames == 20
    assert facts.frame_text(0) == "epochs 1 to 3 of 47"
    assert facts.frame_text(19) == "epochs 46 to 47 of 47"
    sizes = np.bincount(facts.frame_of(np.arange(47)))
    assert set(sizes.tolist()) == {2, 3}
    np.testing.assert_array_equal(facts.bars.sum(axis=(1, 2)), 8 * sizes)


@pytest.mark.parametrize("percentile", [0.0, 0.6, 0.75, 1.0])
def test_loss_differences_are_those_that_the_mentor_saw(percentile: float) -> None:
    draw = np.random.default_rng(1)
    step = np.repeat(np.arange(9), [5, 1, 7, 7, 2, 5, 5, 3, 8])
    loss = draw.gamma(2.0, size=len(step))
    running = RunningPercentile(percentile, 0.9)
    levels = [running.update(torch.from_numpy(loss[step == each])) for each in range(9)]
    mixed = draw.permutation(np.flatnonzero(step < 4))
    found = Differences(percentile, 0.9)
    np.testing.assert_allclose(found(step[mixed], loss[mixed]), loss[mixed] - np.array(levels)[step[mixed]])
    rest = step >= 4
    np.testing.assert_allclose(found(step[rest], loss[rest]), loss[rest] - np.array(levels)[step[rest]])
    assert found.level == pytest.approx(levels[-1])


def test_files_of_several_ranks_are_joined_before_a_step_is_looked_at(tmp_path: Path) -> None:
    directory = made_run(tmp_path, samples=32, epochs=2)
    tables = list(whole_steps(directory, ["step", "loss"]))
    assert [len(table) for table in tables] == [32, 32]
    for file in sorted((tmp_path / "ledger").iterdir()):
        whole = pd.read_parquet(file)
        file.unlink()
        for rank in range(2):
            whole.iloc[rank::2].to_parquet(file.with_name(f"{file.stem}-rank-{rank}.parquet"))
    # pandas writes the ledger's types as they were
    again = list(whole_steps(directory, ["step", "loss"]))
    assert [sorted(table["loss"].to_pylist()) for table in again] == [
        sorted(table["loss"].to_pylist()) for table in tables
    ]


def test_a_loss_at_the_percentile_lies_in_the_middle_of_the_plane() -> None:
    facts = _empty(21, 2.0, 1, truth=False)
    rows = pa.table(
        {
            "epoch": [0, 0, 0],
            "loss": [1.0, 1.0, 1.0],
            "scored_weight": [0.5, 0.5, 0.5],
            "sample_weight": [0.5, 0.5, 0.5],
            "given_label": [0, 0, 0],
        }
    )
    facts.add(rows, np.array([-2.0, 0.0, 1.9]))
    assert np.flatnonzero(facts.plane_count[0].sum(axis=0)).tolist() == [0, DIFFERENCES // 2, 58]
    assert facts.frame_of(np.arange(21)).tolist() == [0, *range(20)], "the first of 20 frames has two of 21 epochs"
