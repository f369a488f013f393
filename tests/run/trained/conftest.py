"""What the commands about a trained student are tested with."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from trained_students import FEATURES, NAMES, feature_samples, left_by, named, seeded

from ray_mentor import cli


@pytest.fixture
def command(capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Runs a command in an empty folder: exit code, and what it said."""
    monkeypatch.chdir(tmp_path)

    def run(*words: str) -> tuple[int, str]:
        code = cli.main(words)
        captured = capsys.readouterr()
        return code, captured.out if code == 0 else captured.err

    return run


@pytest.fixture
def run(tmp_path: Path) -> str:
    samples = feature_samples(FEATURES)
    build = named(samples, "mlp")
    return left_by(tmp_path / "run", samples, build, seeded(build), names=NAMES)
