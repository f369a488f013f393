"""What benchmarks/audit.py compares, by hand; and that the page has its figures."""

from __future__ import annotations

from pathlib import Path

import audit
import numpy as np
import pandas as pd
import pytest
from auditing.detectors import DETECTORS, missed
from auditing.large_ledger import audited, write
from auditing.overlapping import overlapping
from protocol import pages
from protocol.rows import read

ROOT = Path(__file__).parents[3]

LEDGER = pd.DataFrame(
    {
        "sample_id": [7, 7, 7, 3, 3, 3],
        "epoch": [2, 0, 1, 0, 1, 2],
        "loss": [3.0, 1.0, 2.0, 0.5, 0.0, 0.25],
        "margin": [-3.0, 1.0, -1.0, -2.0, -2.0, -2.0],
        "given_label": [0, 0, 0, 1, 1, 1],
        "predicted_label": [2, 0, 2, 0, 0, 0],
    }
)
"""Sample 7 is learnt, and forgotten; 3 is never learnt."""


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("last loss", {3: 0.25, 7: 3.0}),
        ("mean loss", {3: 0.25, 7: 2.0}),
        ("AUM", {3: 2.0, 7: 1.0}),
        ("wrong predictions", {3: 3, 7: 2}),
        ("forgetting", {3: 1000, 7: 1}),
    ],
)
def test_detectors_by_hand(name: str, expected: dict[int, float]) -> None:
    assert DETECTORS[name](LEDGER).to_dict() == pytest.approx(expected)


def test_the_share_missed_by_hand() -> None:
    wrong = np.array([True, False, True, False, True])
    assert missed(wrong, np.array([0.9, 0.8, 0.7, 0.6, 0.5])) == pytest.approx(1 / 3)
    assert missed(wrong, wrong.astype(float)) == 0


def test_figures_without_a_wrong_label() -> None:
    found = audit.figures(np.zeros(3, bool), np.arange(3.0), 1.0, 0.25)
    assert (found["auroc"], found["missed"], found["rate"], found["true_rate"]) == (None, None, 0.25, 0.0)


@pytest.mark.parametrize("seed", [0, 104])
def test_what_the_audit_is_made_of_was_chosen_on_other_seeds(seed: int) -> None:
    assert (seed in audit.SEEDS) == (seed >= 100)


def test_the_page_has_the_figures_of_the_rows() -> None:
    """If not: put what benchmarks/audit.py digits, or overlapping, prints into docs/audit.md."""
    text = (ROOT / "docs" / "audit.md").read_text()
    rows = read(pages.TABLES / "audit.csv")
    for regime in ("digits", audit.OVERLAPPING):
        for line in audit.table(rows, regime).splitlines():
            assert line in text or "|  |  |  |  |  |  |" in line, "nothing to say without wrong labels"
    worse = [{**row, "missed": "0.5"} for row in rows]
    assert audit.table(worse, "digits").splitlines()[2] not in text


def test_nobody_could_tell_more_of_the_table_whose_classes_overlap(tmp_path: Path) -> None:
    """Its classes' points are normal about middles of their own: of 3,000 the nearest middle is right of 69 %."""
    overlapping(tmp_path)
    table = pd.read_parquet(tmp_path / "overlapping.parquet")
    labels, x = table.pop("label").to_numpy(), table.to_numpy()
    middles = np.stack([x[labels == label].mean(axis=0) for label in range(4)])
    nearest = ((x[:, None] - middles) ** 2).sum(axis=2).argmin(axis=1)
    assert (nearest == labels).mean() == pytest.approx(0.69, abs=0.02)


def test_a_large_ledger_is_audited(tmp_path: Path) -> None:
    write(tmp_path, 2_000, 3)
    *_, said = audited(str(tmp_path))
    assert float(said.partition("%")[0]) == pytest.approx(20, abs=3)
