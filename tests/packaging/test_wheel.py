"""The wheel: what is in it and said of it, and that it works where nothing of the checkout is."""

from __future__ import annotations

import email
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path

import pytest

from ray_mentor import __version__
from ray_mentor.core.mentor.offline.predefined import PD_PARAMS

ROOT = Path(__file__).parents[2]
SOURCES = ("ray_mentor", "tune_spaces", "pyproject.toml", "README.md", "LICENSE")


def run(*command: str | Path, folder: Path) -> str:
    """What a command prints in a folder, with nothing of this checkout on its path."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    done = subprocess.run(
        list(map(str, command)), cwd=folder, env={**environment, "OMP_NUM_THREADS": "1"},
        capture_output=True, text=True, timeout=500, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built from a copy of what a release would hold, without asking an index for anything."""
    pytest.importorskip("setuptools", "77")
    folder = tmp_path_factory.mktemp("wheel")
    for name in SOURCES:
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
        copy(ROOT / name, folder / name)
    options = ("--no-deps", "--no-build-isolation", "--no-index", "--quiet", "--wheel-dir", folder / "dist")
    run(sys.executable, "-m", "pip", "wheel", *options, folder, folder=folder)
    (built,) = (folder / "dist").iterdir()
    return built


@pytest.fixture(scope="module")
def fresh(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An environment of its own with the wheel in it, in which the packages that it depends on are those from here."""
    folder = tmp_path_factory.mktemp("fresh")
    venv.create(folder / "env", with_pip=True)
    python = folder / "env/bin/python"
    run(python, "-m", "pip", "install", "--quiet", "--no-index", "--no-deps", wheel, folder=folder)
    (site,) = (folder / "env/lib").glob("python*/site-packages")
    (site / "theirs.pth").write_text(
        sysconfig.get_paths()["purelib"]
    )  # reads no .pth there: not this checkout's either
    return python


@pytest.mark.slow
def test_its_files_are_the_packages(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as opened:
        inside = {name for name in opened.namelist() if ".dist-info/" not in name}
    there = {
        str(path.relative_to(ROOT)) for top in ("ray_mentor", "tune_spaces") for path in (ROOT / top).rglob("*.py")
    }
    assert inside == {*there, "ray_mentor/py.typed", str(PD_PARAMS.relative_to(ROOT))}


@pytest.mark.slow
def test_what_it_says_of_itself(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as opened:
        names = opened.namelist()
        (name,) = [name for name in names if name.endswith(".dist-info/METADATA")]
        about = email.message_from_bytes(opened.read(name))
        (license_file,) = [name for name in names if name.endswith("/licenses/LICENSE")]
        assert b"Apache License" in opened.read(license_file)
    assert (about["Name"], about["Version"]) == ("ray-mentor", __version__)
    assert about["License-Expression"] == "Apache-2.0"
    assert about["Requires-Python"] == ">=3.11"
    assert {"Operating System :: MacOS", "Operating System :: POSIX :: Linux"} <= set(about.get_all("Classifier", []))
    plain = [wish for wish in about.get_all("Requires-Dist", []) if "extra ==" not in wish]
    assert {re.split(r"[>=<\[; ]", wish)[0] for wish in plain} == {"torch", "numpy", "jaxtyping", "typing_extensions"}
    assert {"ray", "tune", "lightning", "all"} <= set(about.get_all("Provides-Extra", []))


@pytest.mark.slow
def test_it_trains_in_a_fresh_environment(fresh: Path, tmp_path: Path) -> None:
    where = run(fresh, "-c", "import ray_mentor; print(ray_mentor.__file__)", folder=tmp_path)
    assert where.startswith(str(fresh.parents[1])), where
    command = fresh.with_name("ray-mentor")
    assert run(command, "--version", folder=tmp_path) == f"ray-mentor {__version__}\n"
    words = ("--workers", "0", "--epochs", "1", "--train-size", "200", "--test-size", "50", "--run-name", "first")
    assert "mentornet, seed 0" in run(command, "train", *words, folder=tmp_path)
    assert (tmp_path / "runs/first/result.json").exists()


@pytest.mark.slow
def test_its_types_are_seen(fresh: Path, tmp_path: Path) -> None:
    """mypy takes no types from a package without py.typed."""
    (tmp_path / "user.py").write_text("from ray_mentor import MentorConfig\n\nMentorConfig(meta_batch_size='many')\n")
    done = subprocess.run(
        [sys.executable, "-m", "mypy", "--python-executable", str(fresh), "--follow-imports=silent", "user.py"],
        cwd=tmp_path, capture_output=True, text=True, timeout=500, check=False,
    )  # fmt: skip
    assert 'incompatible type "str"; expected "int"' in done.stdout, done.stdout + done.stderr
