"""The noise AUROC: of what the weighting said of each sample last, however it was trained on."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest
from sklearn.metrics import roc_auc_score

from ray_mentor.run.directory import RunDirectory
from ray_mentor.run.ledger.detection import detection, noise_auroc, weight_spread
from ray_mentor.run.ledger.rows import SCHEMA

WRONG = np.array([True, False, True, False, False])
PERFECT = np.where(WRONG, 0.1, 0.9)


def ledger(*epochs: tuple[np.ndarray, np.ndarray], wrong: np.ndarray = WRONG, truth: bool = True) -> pa.Table:
    """One of (scored weights, sample weights) by epoch, in the order of the samples."""
    rows = [
        {
            "sample_id": sample,
            "epoch": epoch,
            "step": epoch,
            "loss": 1.0,
            "scored_weight": scored[sample],
            "sample_weight": used[sample],
            "influence": None,
            "given_label": 1 if wrong[sample] else 0,
            "true_label": 0 if truth else None,
        }
        for epoch, (scored, used) in enumerate(epochs)
        for sample in range(len(wrong))
    ]
    return pa.Table.from_pylist(rows, schema=SCHEMA)


Auroc = Callable[[pa.Table], float | None]


@pytest.fixture
def auroc(tmp_path: Path) -> Auroc:
    """Of the last epoch of a run with this ledger."""

    def of(rows: pa.Table) -> float | None:
        (tmp_path / "ledger").mkdir(exist_ok=True)
        pyarrow.parquet.write_table(rows, tmp_path / "ledger/rows.parquet")
        return noise_auroc(RunDirectory(str(tmp_path)), max(rows["epoch"].to_pylist(), default=0))

    return of


def test_the_last_epoch_alone_counts(auroc: Auroc) -> None:
    """A mentor that began the other way round is judged by what it has come to."""
    reverse = 1 - PERFECT
    assert auroc(ledger((reverse, reverse), (reverse, reverse), (PERFECT, PERFECT))) == 1.0
    assert auroc(ledger((PERFECT, PERFECT), (PERFECT, PERFECT), (reverse, reverse))) == 0.0


def test_what_the_weighting_said_counts_and_not_what_a_guard_or_a_dropout_made_of_it(auroc: Auroc) -> None:
    equal, dropped = np.ones(5), np.array([1.0, 0.0, 1.0, 0.0, 0.0])
    assert auroc(ledger((PERFECT, equal))) == 1.0
    assert auroc(ledger((PERFECT, dropped))) == 1.0
    assert auroc(ledger((equal, PERFECT))) == 0.5


def test_pairs_are_counted(auroc: Auroc) -> None:
    """Of 2 wrong and 3 right samples, one pair is in the wrong order and one is tied."""
    scored = np.array([0.3, 0.2, 0.1, 0.3, 0.9])
    assert auroc(ledger((scored, scored))) == pytest.approx((6 - 1 - 0.5) / 6)


@pytest.mark.parametrize("wrong", [np.zeros(5, bool), np.ones(5, bool)])
def test_none_where_there_is_nothing_to_tell_apart(auroc: Auroc, wrong: np.ndarray) -> None:
    assert auroc(ledger((PERFECT, PERFECT), wrong=wrong)) is None
    assert auroc(ledger((PERFECT, PERFECT), truth=False)) is None
    assert auroc(ledger()) is None


def written(tmp_path: Path, rows: pa.Table, parts: int = 1) -> RunDirectory:
    (tmp_path / "ledger").mkdir(exist_ok=True)
    for i in range(parts):
        share = rows.filter(pa.array(np.arange(len(rows)) % parts == i))
        pyarrow.parquet.write_table(share, tmp_path / f"ledger/rows-{i}.parquet")
    return RunDirectory(str(tmp_path))


@pytest.mark.parametrize("parts", [1, 3])
def test_where_all_weigh_the_same_mean_losses_tell_wrong_labels(tmp_path: Path, parts: int) -> None:
    """As scikit-learn has it of each sample's mean over epochs, in whatever files the rows lie."""
    equal = np.ones(5)
    rows = ledger((equal, equal), (equal, equal), (equal, equal))
    losses = np.random.default_rng(0).normal(0.5, 1.0, len(rows)).round(1).astype(np.float32)  # some below 0, some tied
    rows = rows.set_column(3, "loss", pa.array(losses))
    directory = written(tmp_path, rows, parts)
    found = detection(directory, 2, by_loss=True)
    assert found.by == "mean loss"
    assert found.auroc == pytest.approx(roc_auc_score(WRONG, losses.reshape(3, 5).astype(np.float64).mean(axis=0)))
    assert detection(directory, 2, by_loss=False).auroc == 0.5
    assert detection(directory, 2, by_loss=False).by == "1 − sample weight"


def test_without_the_truth_mean_losses_tell_nothing(tmp_path: Path) -> None:
    rows = ledger((PERFECT, PERFECT), truth=False)
    assert detection(written(tmp_path, rows), 0, by_loss=True).auroc is None


def test_how_far_weights_lie_apart(tmp_path: Path) -> None:
    directory = written(tmp_path, ledger((PERFECT, PERFECT), (np.full(5, 0.9), PERFECT)), parts=2)
    assert weight_spread(directory, 0) == pytest.approx(PERFECT.std(), rel=1e-6)
    assert weight_spread(directory, 1) == pytest.approx(0.0, abs=1e-7)
    assert weight_spread(directory, 2) is None
