"""Runs that nobody trained: a folder with a config, names and a ledger of rows that are said by hand."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet

from ray_mentor.run.ledger.rows import SCHEMA


def row(sample: int, epoch: int, given: int, predicted: int, margin: float, **more: Any) -> dict[str, Any]:
    """A row of the ledger; what isn't said is what a sample without anything remarkable has."""
    usual = {"loss": 1.0, "scored_weight": 0.5, "sample_weight": 0.5, "influence": None, "true_label": None}
    said = {"given_label": given, "predicted_label": predicted, "margin": margin}
    return {"sample_id": sample, "epoch": epoch, "step": epoch, **usual, **said, **more}


def run_of(
    path: Path,
    *parts: Sequence[dict[str, Any]],
    classes: Sequence[str] | None = ("ape", "bee", "cow"),
    epochs: int = 4,
    older: bool = False,
) -> Path:
    """A run with a ledger file for each of ``parts``.

    Args:
        older: whether the ledger is of before there were predictions.
    """
    (path / "ledger").mkdir(parents=True, exist_ok=True)
    (path / "config.toml").write_text(f"epochs = {epochs}\nburn_in = 0.0\n")
    if classes is not None:
        (path / "classes.json").write_text(json.dumps(list(classes)))
    for number, rows in enumerate(parts):
        table = pa.Table.from_pylist(list(rows), schema=SCHEMA)
        table = table.drop_columns(["predicted_label", "margin"]) if older else table
        pyarrow.parquet.write_table(table, path / f"ledger/{number}.parquet")
    return path
