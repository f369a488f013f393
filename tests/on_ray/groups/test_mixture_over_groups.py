"""One table whose groups are the sources: shares of groups, learnt or given."""

from __future__ import annotations

import dataclasses
import json
import re
from pathlib import Path
from typing import Any

import pytest
from grouped_runs import grouped_trainer, spurious
from mixed_runs import SETTINGS
from small_runs import UNMIXED, assert_same_run, carried, interrupted

from ray_mentor.cli import main
from ray_mentor.config import CurriculumConfig
from ray_mentor.errors import StoppedByUser, UserError

pytestmark = pytest.mark.long  # runs

UNIFORM = CurriculumConfig("uniform")
LEARNED = dataclasses.replace(SETTINGS, mixture="learned", prior="size")
MIXED: dict[str, Any] = {"curriculum": UNIFORM, "mixture": LEARNED, "epochs": 20, "meta_balance": "groups"}


def test_the_group_that_the_target_is_short_of_gets_more(tmp_path: Path) -> None:
    """South is a tenth of the samples, and half of the target."""
    outcome = grouped_trainer(tmp_path, "run", **MIXED).fit()
    found = outcome.result["mixture"]
    assert found["shares"]["south"] > 0.2
    assert found["updates"] > 0
    assert set(outcome.ledger()["domain"].to_pylist()) == {"north", "south"}
    assert outcome.result["trusted_held_out"] > 0


@pytest.mark.parametrize(("by", "south"), [("uniform", 0.5), ("size", 0.1), ("fixed:north=0.7,south=0.3", 0.3)])
def test_shares_may_be_given(by: str, south: float, tmp_path: Path) -> None:
    outcome = grouped_trainer(tmp_path, "run", curriculum=UNIFORM, mixture=by, epochs=2, meta=None).fit()
    assert outcome.result["mixture"]["shares"]["south"] == pytest.approx(south)


def test_a_mentor_weighs_within_groups_and_goes_on_with_the_same_bits(tmp_path: Path) -> None:
    changes: dict[str, Any] = {"curriculum": UNMIXED, "mixture": LEARNED, "epochs": 6, "meta_balance": "groups"}
    whole = grouped_trainer(tmp_path, "whole", **changes).fit()
    with pytest.raises(StoppedByUser):
        grouped_trainer(tmp_path, "broke", optimizer=interrupted(17), **changes).fit()
    assert_same_run(grouped_trainer(tmp_path, "broke", resume=True, **changes).fit(), whole)
    assert len(carried(whole)["mixture"]["updates"]) > 1


def test_on_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    spurious(1, (160, 80)).to_csv(tmp_path / "data.csv", index=False)
    words = ["--data", f"{tmp_path}/data.csv", "--group-column", "where", "--student", "mlp", "--epochs", "4"]
    more = ["--method", "uniform", "--workers", "0", "--meta-size", "40", "--meta-balance", "groups"]
    run = ["--storage-path", str(tmp_path / "runs"), "--run-name", "one", "--mixture", "learned", "--batch-size", "32"]
    assert main(["train", *words, *more, *run, "--shares-interval", "4"]) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert f"on 2 groups of {tmp_path}/data.csv, north, south, learned shares" in said
    result = json.loads((tmp_path / "runs/one/result.json").read_text())
    assert set(result["mixture"]["shares"]) == {"north", "south"}
    assert main(["train", "--config", f"{tmp_path}/runs/one/config.toml", "--resume"]) == 0
    capsys.readouterr()
    spurious(1, (160, 80)).to_parquet(tmp_path / "data.parquet")
    words[1] = f"{tmp_path}/data.parquet"
    assert main(["train", *words, "--workers", "0", "--mixture", "learned", "--data-backend", "ray"]) == 2
    assert "data_backend is 'ray', which streams" in capsys.readouterr().err


ONE = spurious(1, (100, 0))
REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"data": ONE}, "mixture is 'learned', but all training samples are of the group 'north'"),
    ({"meta": None}, "mixture is 'learned', but nothing says what training is for"),
    ({"meta": ONE}, "no trusted sample is of south, and shares are learnt for the mean over groups"),
    ({"meta": ONE.drop(columns="where")}, "nobody says of which group the trusted samples are"),
    ({"meta": spurious(1)[:40]}, "are in the target meta as well"),
    ({"curriculum": CurriculumConfig("uniform", meta_in_training=1.0)}, "meta_in_training is 1, but the trusted"),
    ({"group_column": None, "ignore_columns": ("where",)}, "or mix the groups of one: group_column and mixture"),
]


@pytest.mark.parametrize(("changes", "says"), REFUSED)
def test_what_can_not_be_mixed_is_refused(changes: dict[str, Any], says: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=re.escape(says)):
        grouped_trainer(tmp_path, "run", **{**MIXED, **changes})


def test_a_group_that_is_held_out_alone_is_no_target(tmp_path: Path) -> None:
    """Groups that nobody balances need no trusted sample."""
    changes: dict[str, Any] = {**MIXED, "meta_balance": "classes", "meta": spurious(2, (60, 0)), "epochs": 2}
    outcome = grouped_trainer(tmp_path, "run", **changes).fit()
    assert outcome.result["trusted_worst_group"] == "north"
