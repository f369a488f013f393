"""What ``ray job submit --working-dir .`` uploads from a checkout, by Ray's own packaging."""

from __future__ import annotations

from pathlib import Path
from zipfile import ZipFile

import pytest
from checkouts import BYTES, GATHERS, ROOT, make_checkout
from ray._private.ray_constants import get_runtime_env_default_excludes
from ray._private.runtime_env.packaging import create_package

LIMIT = 5_000_000


def packed(checkout: Path, zipped: Path) -> Path:
    """What a job's working directory is made of; Ray does not compress it."""
    create_package(str(checkout), zipped, include_gitignore=True, excludes=get_runtime_env_default_excludes())
    return zipped


def names_in(zipped: Path) -> set[str]:
    with ZipFile(zipped) as package:
        return set(package.namelist())


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    return make_checkout(tmp_path / "checkout")


def test_the_upload_is_small(checkout: Path, tmp_path: Path) -> None:
    assert packed(checkout, tmp_path / "job.zip").stat().st_size < LIMIT


def test_what_gathers_in_a_checkout_stays_there(checkout: Path, tmp_path: Path) -> None:
    names = names_in(packed(checkout, tmp_path / "job.zip"))
    assert not names & set(GATHERS)
    assert not {name for name in names if name.startswith(("docs/", "tests/"))}


def test_all_that_a_job_runs_goes_along(checkout: Path, tmp_path: Path) -> None:
    names = names_in(packed(checkout, tmp_path / "job.zip"))
    for folder in ("ray_mentor", "tune_spaces", "examples", "benchmarks"):
        assert {str(file.relative_to(ROOT)) for file in (ROOT / folder).rglob("*.py")} <= names


def test_a_file_that_nobody_excludes_is_found(checkout: Path, tmp_path: Path) -> None:
    (checkout / "weights.bin").write_bytes(bytes(BYTES))
    assert packed(checkout, tmp_path / "job.zip").stat().st_size > LIMIT
