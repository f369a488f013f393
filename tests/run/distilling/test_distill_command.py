"""`ray-mentor distill`: what it writes and says, on runs that nobody trained; and what it compares when it verifies."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hand_made_runs import row, run_of

from ray_mentor import Rule, TrainConfig, cli, distill
from ray_mentor.config.file import to_toml


def run(path: Path, seed: int, **result: Any) -> Path:
    """Of a weighting that falls with the loss."""
    draw = np.random.default_rng(seed)
    rows = []
    for epoch in range(12):
        for sample, loss in enumerate(draw.exponential(2, 40).tolist()):
            said = 1 / (1 + np.exp(2 * loss - 3))
            rows.append(row(sample, epoch, sample % 3, 0, 0.0, loss=loss, scored_weight=said))
    run_of(path, rows, epochs=12)
    settings = TrainConfig().changed(run_name=path.name, storage_path=str(path.parent), seed=seed, epochs=12)
    (path / "config.toml").write_text(to_toml(settings.flat()))
    if result:
        (path / "result.json").write_text(json.dumps(result))
    return path


@pytest.fixture
def said(capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.chdir(tmp_path)

    def command(*words: str) -> tuple[int, str, str]:
        code = cli.main(["distill", *words])
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return command


def test_the_rule_of_a_run_measured_on_another(said: Any, tmp_path: Path) -> None:
    run(tmp_path / "one", 0), run(tmp_path / "two", 1)
    code, out, err = said("one", "--out", "rule.json", "--on", "two")
    assert (code, err) == (0, "")
    lines = out.splitlines()
    assert lines[0].split("  ")[0] == "measured on 1 other run, mean"
    assert lines[0].endswith("  R²  Spearman  in a step  same side of ½")
    assert lines[1].count("–") == 2
    (taken,) = [line for line in lines if line.endswith("  <")]
    assert taken.startswith("loss   ")
    assert min(map(float, taken.split()[1:-1])) > 0.95
    assert lines[-1] == "the rule, which weighs by loss, is in rule.json"
    rule = Rule.read(tmp_path / "rule.json")
    assert rule([1.5])[0] == pytest.approx(0.5, abs=0.05)
    assert rule.made_from["runs"] == ["one"]
    assert rule.made_from["measured_on"] == ["two"]
    assert rule.made_from["r_squared"] > 0.95
    again = said("one", "--out", "rule.json")
    assert again == (2, "", "error: 'rule.json' is there already; give another name, or remove it first\n")


def test_of_one_run_alone_it_says_that_this_says_little(said: Any, tmp_path: Path) -> None:
    run(tmp_path / "one", 0)
    _, out, _ = said("one", "--out", "rule.json")
    assert out.splitlines()[0] == "measured on samples held out, of the same run  R²"
    assert "rows of one run are alike: --on RUN, of another seed, says what the rule is worth elsewhere" in out


def test_what_can_not_be_distilled_leaves_no_file(said: Any, tmp_path: Path) -> None:
    run(tmp_path / "one", 0)
    code, _, err = said("nowhere", "--out", "rule.json")
    assert (code, err.partition(" is not a run")[2]) == (2, ": it has no config.toml; give the folder of a run\n")
    itself = said("one", "--out", "rule.json", "--on", "one")[2]
    assert itself.endswith("/one, which the rule is made of; give runs of other seeds, or leave it out\n")
    assert said("one", "--out", "rule.json", "--verify")[2] == (
        f"error: --verify compares with how {tmp_path}/one ended, which it hasn't; wait for its end\n"
    )
    run_of(tmp_path / "own", [row(1, 0, 0, 0, 0.0)])
    assert "with data or a student of its own" in said("own", "--out", "rule.json", "--verify")[2]
    assert not (tmp_path / "rule.json").exists()


def test_it_trains_with_the_rule_and_without_any_as_the_mentor_did(
    said: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(tmp_path / "one", 0), run(tmp_path / "two", 1, test_accuracy=0.9, trusted_accuracy=1.0)
    asked: list[TrainConfig] = []

    def train(config: TrainConfig) -> Any:
        asked.append(config)
        return SimpleNamespace(result={"test_accuracy": 0.89 if "rule" in config.curriculum.method else 0.8})

    monkeypatch.setattr(distill, "train", train)
    code, out, err = said("one", "--out", "rule.json", "--on", "two", "--verify")
    assert (code, err) == (0, "")
    assert out.splitlines()[-1] == (
        "accuracy of the mentor 0.900, the rule 0.890, equal weights 0.800 (1 run each): the rule closes 90 % of the "
        "gap that the mentor closes"
    )
    by_rule, plain = asked
    assert by_rule.curriculum.method == "rule:rule.json"
    assert (by_rule.curriculum.mixing, by_rule.curriculum.burn_in) == ("mentormix", 0.15)
    assert (plain.curriculum.method, plain.curriculum.mixing) == ("uniform", "none")
    assert [config.run.run_name for config in asked] == ["two-by-rule", "two-plain"]
    assert {config.run.seed for config in asked} == {1}
    assert {config.curriculum.in_training for config in asked} == {1.0}


def test_without_a_known_truth_no_epoch_is_chosen_by_what_it_is_measured_on(
    said: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The kept student of plain training is its luckiest epoch's on these very samples."""
    path = run(tmp_path / "one", 0, test_accuracy=None, trusted_accuracy=0.95, trusted_held_out=30)
    (path / "metrics.csv").write_text('"epoch","trusted_accuracy"\n0,1\n1,0.9\n')

    def train(config: TrainConfig) -> Any:
        last = 0.85 if "rule" in config.curriculum.method else 0.8
        metrics = [{"trusted_accuracy": 1.0}, {"trusted_accuracy": last}]
        return SimpleNamespace(result={"test_accuracy": None, "trusted_accuracy": 1.0}, metrics=metrics)

    monkeypatch.setattr(distill, "train", train)
    code, out, err = said("one", "--out", "rule.json", "--verify")
    assert (code, err) == (0, "")
    assert out.splitlines()[-1] == (
        "accuracy on 30 held-out trusted samples in the last epoch of the mentor 0.900, the rule 0.850, equal weights "
        "0.800 (1 run each): the rule closes 50 % of the gap that the mentor closes"
    )


def test_a_run_that_it_would_train_is_not_found_there_after_all_the_work(said: Any, tmp_path: Path) -> None:
    run(tmp_path / "one", 0, test_accuracy=0.9), run(tmp_path / "one-plain", 0, test_accuracy=0.9)
    code, out, err = said("one", "--out", "rule.json", "--verify")
    assert (code, out) == (2, "")
    assert err == f"error: --verify trains the run {tmp_path}/one-plain, which is there already; remove it first\n"
    assert not (tmp_path / "rule.json").exists()


def test_no_gap_is_said_to_be_none() -> None:
    assert distill.closed_gap([(0.8, 0.9, 0.8)]).endswith("(1 run each): there is no gap to close")
