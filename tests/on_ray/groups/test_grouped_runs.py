"""Runs of data with groups: what is said of them at the beginning and at the end."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest
from grouped_runs import grouped_trainer, spurious
from page_text import figures

from ray_mentor.cli import main

pytestmark = pytest.mark.long  # runs


def test_a_run_says_how_large_groups_are_and_how_it_does_on_each(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    spurious(1, (160, 80)).to_csv(tmp_path / "data.csv", index=False)
    words = ["--data", f"{tmp_path}/data.csv", "--group-column", "where", "--student", "mlp", "--epochs", "4"]
    more = ["--method", "uniform", "--workers", "0", "--meta-size", "24", "--meta-balance", "groups"]
    assert main(["train", *words, *more, "--storage-path", str(tmp_path / "runs"), "--run-name", "one"]) == 0
    said = capsys.readouterr().out
    assert "2 groups of training samples: north" in said[: said.index("epoch 1/4")]
    result = json.loads((tmp_path / "runs/one/result.json").read_text())
    north, south = result["groups"]
    assert (north["group"], south["group"]) == ("north", "south")
    assert (north["trusted_samples"], south["trusted_samples"]) == (12, 12)
    assert result["trusted_worst_group_accuracy"] == min(each["trusted_accuracy"] for each in result["groups"])
    assert result["test_worst_group_accuracy"] == min(each["test_accuracy"] for each in result["groups"])
    assert sum(each["training_samples"] for each in result["groups"]) <= 240 - 24
    worst = f"(lower where a group&#x27;s are wrong): {result['test_worst_group']}"
    assert f"group south, {south['training_samples']} training samples" in " ".join(said.split())
    page = (tmp_path / "runs/one/report.html").read_text()
    assert worst in page
    with (tmp_path / "runs/one/metrics.csv").open() as file:
        last = list(csv.DictReader(file))[-1]
    for name, each in (("north", north), ("south", south)):
        assert float(last[f"test_agreement_by_group/{name}"]) == pytest.approx(each["test_accuracy"])
        assert float(last[f"trusted_accuracy_by_group/{name}"]) == pytest.approx(each["trusted_accuracy"])
    assert {trace["name"] for trace in figures(page)["groups"]["data"]} == {"north", "south"}
    assert f"group south, {south['training_samples']} training samples" in page


def test_a_group_of_what_is_easy_hides_another_in_the_mean(tmp_path: Path) -> None:
    outcome = grouped_trainer(tmp_path, "run", method="uniform", epochs=8).fit()
    result, ledger, where = outcome.result, outcome.ledger(), spurious(1)["where"]
    assert ledger["group"].to_pylist() == [where[row] for row in ledger["sample_id"].to_pylist()]
    assert set(ledger["domain"].to_pylist()) == {-1}
    north, south = result["groups"]
    assert north["test_samples"] == south["test_samples"] == 50
    assert result["test_accuracy"] == pytest.approx((north["test_accuracy"] + south["test_accuracy"]) / 2)
    assert result["test_worst_group"] == "south"
    assert result["test_worst_group_accuracy"] == south["test_accuracy"] < north["test_accuracy"]
