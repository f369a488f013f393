"""A small comparison on a real Ray: what it finds and leaves, a method that fails, and a second call that adds more."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from rich.console import Console

from ray_mentor import CompareOutcome, CompareSettings, TrainConfig, compare

EPOCHS = 2
BREAKS = {"breaks": {"method": "uniform", "learning_rate": 1e15}}


def compared(storage: Path, log: io.StringIO, methods: tuple[str, ...], seeds: int, **more: Any) -> CompareOutcome:
    config = TrainConfig().changed(
        epochs=EPOCHS, train_size=300, test_size=100, max_failures=0, storage_path=str(storage), run_name="mine",
        resume=more.pop("resume", False),
    )  # fmt: skip
    console = Console(file=log, width=200)
    return compare(methods, config, CompareSettings(seeds=seeds), console=console, **more)


@pytest.mark.slow
@pytest.mark.usefixtures("local_ray")
def test_a_comparison_and_then_more_of_it(tmp_path: Path) -> None:
    first = io.StringIO()
    found = compared(tmp_path, first, ("gce",), 1, own=BREAKS)
    lines = found.table.set_index("method")
    assert set(lines.index) == {"uniform-trusted", "gce", "oracle", "breaks"}
    assert list(lines["seeds"].loc[["uniform-trusted", "gce", "oracle", "breaks"]]) == [1, 1, 1, 0]
    assert lines.index[-1] == "breaks"
    assert (
        "seed 0: ray_mentor.errors.NonFiniteLossError: the loss is not finite at step" in lines.loc["breaks", "error"]
    )
    assert "breaks failed: seed 0: " in first.getvalue()
    assert lines.loc["oracle", "noise_auroc"] == pytest.approx(1.0)
    # A process with PyTorch holds some hundreds of megabytes, and each run had one of its own.
    assert all(200 < peak < 4000 for peak in lines["peak_memory_mb"].loc[["uniform-trusted", "gce", "oracle"]])
    assert found.curves.groupby("method")["epoch"].max().to_dict() == dict.fromkeys(
        ("uniform-trusted", "gce", "oracle"), EPOCHS
    )
    # What the table says is what the runs' own results say.
    for row in found.runs.dropna(subset=["path"]).to_dict("records"):
        result = json.loads((Path(row["path"]) / "result.json").read_text())
        assert row["test_accuracy_selected"] == result["test_accuracy"]
        assert row["noise_auroc"] == result["noise_auroc"]
    folder = Path(found.path)
    assert {"compare.csv", "compare.md", "compare.html", "compare.json", "config.toml", "runs"} <= {
        path.name for path in folder.iterdir()
    }
    assert not list(folder.glob(".tune*"))
    assert list(pd.read_csv(folder / "compare.csv")["method"]) == list(found.table["method"])

    before = {path: path.stat().st_mtime_ns for path in folder.glob("runs/*/result.json")}
    again = io.StringIO()
    more = compared(tmp_path, again, ("gce", "mixup"), 2, resume=True)
    assert {path: path.stat().st_mtime_ns for path in before} == before, "what was finished is not trained again"
    lines = more.table.set_index("method")
    assert lines["seeds"].to_dict() == dict.fromkeys(("uniform-trusted", "gce", "mixup", "oracle"), 2)
    assert "run gce, seed 0 finished" in again.getvalue()
    assert more.comparison["levels"][0]["text"] in again.getvalue().replace("\n", " ")
