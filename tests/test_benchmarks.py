"""The tables of the benchmarks, of runs whose figures are made up."""

from __future__ import annotations

import csv
import importlib
import sys
from pathlib import Path
from typing import Any

import pytest

from ray_mentor import TrainConfig

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"
ACCURACY = {"uniform": 0.5, "self-paced": 0.4, "mentornet": 0.8, "oracle": 0.9}


def made_up(configs: list[TrainConfig], processes: int) -> list[dict[str, Any]]:
    """The method ``uniform`` is in two rows of a regime: the one with trusted samples has 0.6."""
    found = []
    for config in configs:
        method, seed = config.curriculum.method, config.run.seed
        with_trusted = method == "uniform" and config.curriculum.meta_in_training > 0
        accuracy = 0.6 if with_trusted else ACCURACY[method]
        found.append(
            {"method": method, "seed": seed, "test_accuracy": accuracy, "noise_auroc": 0.5, "cpu_seconds": 2.0}
        )
    return found


def test_regimes_has_a_row_for_each_method(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    regimes = importlib.import_module("regimes")
    monkeypatch.setattr(regimes, "results", made_up)
    monkeypatch.setattr(sys, "argv", ["regimes.py", "--seeds", "2", "--csv", str(tmp_path / "rows.csv")])
    regimes.main()
    lines = capsys.readouterr().out.splitlines()
    for regime in ("A", "B", "digits"):
        gaps = {line.split("│")[2].strip(): line.split("│")[4].strip() for line in lines if f" {regime} " in line}
        wanted = {"uniform": "0%", "uniform-trusted": "25%", "self-paced": "-25%", "mentornet": "75%", "oracle": "100%"}
        assert gaps == wanted
    with (tmp_path / "rows.csv").open() as file:
        methods = [row["method"] for row in csv.DictReader(file)]
    assert {method: methods.count(method) for method in methods} == dict.fromkeys(wanted, 6)
