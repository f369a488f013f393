"""What a run's config file says of settings that nobody gave."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from ray_mentor.cli import main


@pytest.mark.long
def test_the_loss_that_follows_from_an_imbalance_is_named(tmp_path: Path) -> None:
    words = ["train", "--imbalance", "exp:4", "--epochs", "1", "--workers", "0", "--storage-path", str(tmp_path)]
    assert main([*words, "--run-name", "one"]) == 0
    written = tomllib.loads((tmp_path / "one/config.toml").read_text())
    assert written["loss"] == "logit-adjusted:1:1"
    assert main([*words, "--run-name", "one", "--resume"]) == 0
    assert main([*words, "--run-name", "other", "--method", "uniform"]) == 0
    assert "loss" not in tomllib.loads((tmp_path / "other/config.toml").read_text())
