"""Batch inference over workers of Ray Data: the same rows in the same order as in one process."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest
from PIL import Image
from trained_students import feature_samples, image_samples, images, left_by, named, seeded

from ray_mentor import cli

pytestmark = [pytest.mark.long, pytest.mark.usefixtures("local_ray")]

NAMES = ("a", "b", "c", "d")
ROWS = 5000
FEATURES = np.random.default_rng(1).normal(5, 3, (ROWS, 4)).astype(np.float32)


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    samples = feature_samples(FEATURES)
    build = named(samples, "mlp")
    monkeypatch.chdir(tmp_path)
    return left_by(tmp_path / "run", samples, build, seeded(build), names=NAMES)


def write(name: str, **more: Any) -> None:
    columns = {name: FEATURES[:, place] for place, name in enumerate(NAMES)}
    pyarrow.parquet.write_table(pa.table({**columns, **more}), name, row_group_size=700)


def test_workers_say_what_one_process_says_in_the_same_order(run: str, capsys: pytest.CaptureFixture[str]) -> None:
    write("new.parquet", sample_id=np.random.default_rng(0).permutation(ROWS))
    common = ("predict", run, "--data", "new.parquet", "--probabilities")
    assert cli.main((*common, "--out", "two.parquet", "--workers", "2")) == 0
    assert cli.main((*common, "--out", "auto.parquet")) == 0
    assert cli.main((*common, "--out", "one.parquet", "--workers", "0")) == 0
    one = pyarrow.parquet.read_table("one.parquet")
    for name in ("two.parquet", "auto.parquet"):
        other = pyarrow.parquet.read_table(name)
        assert other.schema == one.schema
        assert other.select(["sample_id", "class"]).equals(one.select(["sample_id", "class"]))
        assert np.array(other["probability"]) == pytest.approx(np.array(one["probability"]), abs=1e-6)
    assert "Traceback" not in capsys.readouterr().err


def test_what_a_worker_cannot_read_is_the_users_error(run: str, capsys: pytest.CaptureFixture[str]) -> None:
    write("new.parquet", d=[None if i == 4321 else 1.5 for i in range(ROWS)])
    assert cli.main(("predict", run, "--data", "new.parquet", "--out", "p.csv", "--workers", "2")) == 2
    said = capsys.readouterr().err
    assert said.startswith("error: feature 'd' in row 4321 of ")
    assert "Traceback" not in said
    assert not Path("p.csv").exists()
    assert cli.main(("predict", run, "--data", "new.parquet", "--out", "p.csv", "--workers", "900")) == 2
    assert "the workers need 900 CPUs, but there are 2" in capsys.readouterr().err


def test_workers_leave_out_what_cannot_be_decoded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A worker's whole stretch of rows, too."""
    monkeypatch.chdir(tmp_path)
    pixels = images(count=1030)
    samples = image_samples(pixels)
    build = named(samples)
    run = left_by(tmp_path / "run", samples, build, seeded(build), trained_on=samples.select(np.array([0, 1, 2, 9])))
    files = []
    for each in pixels:
        file = io.BytesIO()
        Image.fromarray(each).save(file, "PNG")
        files.append(file.getvalue())
    whole = [i for i in range(1024) if i != 2]
    files = [file if i in set(whole) else b"no" for i, file in enumerate(files)]
    pyarrow.parquet.write_table(pa.table({"image": files}), "new.parquet", row_group_size=300)
    common = ("predict", run, "--data", "new.parquet", "--skip-broken")
    assert cli.main((*common, "--out", "one.parquet", "--workers", "0")) == 0
    here = capsys.readouterr().out
    assert "left out 7 images that can't be decoded" in here
    assert "3 of 1,023 samples were trained on" in here
    assert cli.main((*common, "--out", "two.parquet", "--workers", "2")) == 0
    assert capsys.readouterr().out.replace("two.parquet", "one.parquet") == here
    assert pyarrow.parquet.read_table("two.parquet")["sample_id"].to_pylist() == whole
