"""The page of the trained model: its command, and its blocks, of which one has neither Ray nor the rest."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest
from docs_files import DOCS, python_blocks
from trained_students import feature_samples, image_samples, images, left_by, named, seeded

from ray_mentor import cli

sys.path.append(str(Path(__file__).parents[1] / "packaging"))
from without_packages import CORE, python_with

PAGE = DOCS / "trained-model.md"
COMMANDS = [line[4:] for line in PAGE.read_text().splitlines() if line.startswith("    ray-mentor ")]


@pytest.fixture
def first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a run of grey images of 8×8."""
    (tmp_path / "runs").mkdir()
    samples = image_samples(images((8, 8, 1)))
    build = named(samples)
    left_by(tmp_path / "runs/first", samples, build, seeded(build))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_in_python(first: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, _ = python_blocks(PAGE)
    exec(code, {})  # noqa: S102 - our own pages
    assert capsys.readouterr().out in [f"['{name}', '{name}']\n" for name in ("ape", "bee", "cow")]


@pytest.mark.long
def test_with_plain_pytorch_where_there_is_no_ray(first: Path, capsys: pytest.CaptureFixture[str]) -> None:
    here, plain = python_blocks(PAGE)
    assert len(plain.strip().splitlines()) <= 15
    exec(here, {})  # noqa: S102
    done = python_with((*CORE, "safetensors"), plain)
    assert (done.stdout, done.stderr) == (capsys.readouterr().out, "")


@pytest.mark.long
def test_the_commands_of_the_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    values = np.random.default_rng(0).normal(size=(50, 3)).astype(np.float32)
    samples = feature_samples(values)
    build = named(samples, "mlp")
    (tmp_path / "runs").mkdir()
    left_by(tmp_path / "runs/first", samples, build, seeded(build), names=("a", "b", "c"))
    monkeypatch.chdir(tmp_path)
    table = pa.table({name: values[:, place] for place, name in enumerate("cab")})
    pyarrow.parquet.write_table(table, "new.parquet")
    pyarrow.parquet.write_table(table.append_column("label", pa.array(["bee"] * 50)), "checked.parquet")
    assert COMMANDS
    for command in COMMANDS:
        assert cli.main(shlex.split(command)[1:]) == 0
    assert len(pyarrow.parquet.read_table("predictions.parquet")) == 50
