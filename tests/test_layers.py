"""The architecture, as tests: who may import whom, and that these checks can fail."""

from __future__ import annotations

import os
import pkgutil
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

import ray_mentor
import ray_mentor.core

ROOT = Path(__file__).parents[1]
CORE = [module.name for module in pkgutil.walk_packages(ray_mentor.core.__path__, "ray_mentor.core.")]


def python(code: str) -> str:
    """What the code prints in a fresh interpreter."""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def loaded_by(*modules: str) -> set[str]:
    """The top-level names in sys.modules after importing ``modules``."""
    imports = "; ".join(f"import {module}" for module in modules)
    return set(python(f"{imports}; import sys; print(*{{name.split('.')[0] for name in sys.modules}})").split())


def lint_imports(root: Path) -> subprocess.CompletedProcess[str]:
    command = Path(sys.executable).with_name("lint-imports")
    environment = {**os.environ, "PYTHONPATH": str(root)}
    return subprocess.run(
        [str(command), "--no-cache"],
        cwd=root,
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


def test_there_are_core_modules() -> None:
    assert {"ray_mentor.core.curriculum", "ray_mentor.core.mentor.networks.mlp"} <= set(CORE)


def test_no_module_of_the_core_loads_ray() -> None:
    loaded = loaded_by(*CORE)
    assert "torch" in loaded
    assert not loaded & {"ray", "lightning"}


@pytest.mark.skipif(find_spec("lightning") is None, reason="Lightning is not installed")
def test_the_callback_needs_no_ray() -> None:
    assert "ray" not in loaded_by("ray_mentor.lightning")


def test_nor_do_data_students_and_report() -> None:
    assert "ray" not in loaded_by("ray_mentor.data", "ray_mentor.students", "ray_mentor.report.terminal")


@pytest.mark.parametrize(
    "name",
    [
        "ray_mentor",
        "ray_mentor.config",
        "ray_mentor.config.file",
        "ray_mentor.config.meaning",
        "ray_mentor.cli",
        "ray_mentor.run.progress",
    ],
)
def test_what_must_load_fast_loads_neither_torch_nor_ray(name: str) -> None:
    assert not loaded_by(name) & {"torch", "ray", "sklearn", "pyarrow"}


MOST_FILES = 14


def test_no_folder_holds_more_files_than_one_takes_in() -> None:
    folders = {path.parent for top in ("ray_mentor", "tests", "benchmarks") for path in (ROOT / top).rglob("*.py")}
    full = {str(folder.relative_to(ROOT)): n for folder in folders if (n := _files(folder)) > MOST_FILES}
    assert not full


def _files(folder: Path) -> int:
    return sum(path.name != "__init__.py" for path in folder.glob("*.py"))


def test_public_names_are_there_and_no_others() -> None:
    for name in ray_mentor.__all__:
        assert getattr(ray_mentor, name).__name__ == name
    with pytest.raises(AttributeError) as raised:
        _ = ray_mentor.Trainer
    assert str(raised.value).startswith(
        "module 'ray_mentor' has no attribute 'Trainer'; it has Audit, CompareOutcome, "
    )


def test_the_plain_curriculum_needs_no_ray() -> None:
    assert python("import ray_mentor, sys; ray_mentor.LearnedCurriculum; print('ray' in sys.modules)") == "False"


def test_light_actors_load_no_pytorch() -> None:
    """Each would take 0.3 GB and seconds, in every trial of a sweep."""
    assert "torch" not in loaded_by("ray_mentor.on_ray.train.gate", "ray_mentor.run.progress")


def test_imports_point_one_way() -> None:
    done = lint_imports(ROOT)
    assert done.returncode == 0, done.stdout
    assert "Contracts: 9 kept, 0 broken." in done.stdout


FORBIDDEN = [
    ("core/step/percentile.py", "import ray", "ray_mentor.core.step.percentile -> ray"),
    ("report/terminal.py", "import ray.train", "ray_mentor.report.terminal -> ray"),
    ("run/tally.py", "import ray", "ray_mentor.run.tally -> ray"),
    ("core/batch.py", "import ray_mentor.data.plan.order", "ray_mentor.core.batch -> ray_mentor.data.plan.order"),
    ("core/own_loop/meta_set.py", "import lightning", "ray_mentor.core.own_loop.meta_set -> lightning"),
    ("lightning.py", "import ray", "ray_mentor.lightning -> ray"),
    ("run/tally.py", "import ray_mentor.lightning", "ray_mentor.run.tally -> ray_mentor.lightning"),
    ("config/settings.py", "import ray_mentor.core.losses", "ray_mentor.config.settings -> ray_mentor.core.losses"),
    ("config/meaning.py", "import ray_mentor.students", "ray_mentor.config.meaning -> ray_mentor.students"),
    ("on_ray/tune/spaces.py", "import tune_spaces.joint", "ray_mentor.on_ray.tune.spaces -> tune_spaces.joint"),
    (
        "core/step/record.py",
        "import ray_mentor.core.methods",
        "ray_mentor.core.step.record -> ray_mentor.core.methods",
    ),
    ("data/plan/order.py", "import ray_mentor.data.splits", "ray_mentor.data.plan.order -> ray_mentor.data.splits"),
    ("run/log.py", "import ray_mentor.run.checkpoint", "ray_mentor.run.log -> ray_mentor.run.checkpoint"),
    (
        "on_ray/session/growth.py",
        "import ray_mentor.on_ray.tune",
        "ray_mentor.on_ray.session.growth -> ray_mentor.on_ray.tune",
    ),
    ("tasks/base.py", "import ray_mentor.tasks.mentor", "ray_mentor.tasks.base -> ray_mentor.tasks.mentor"),
    ("config/values.py", "import ray_mentor.config.file", "ray_mentor.config.values -> ray_mentor.config.file"),
]
"""Module, what it may not import, and what is said of it."""


def test_forbidden_imports_are_found(tmp_path: Path) -> None:
    for package in ("ray_mentor", "tune_spaces"):
        shutil.copytree(ROOT / package, tmp_path / package, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    for file, forbidden, _ in FORBIDDEN:
        with (tmp_path / "ray_mentor" / file).open("a") as module:
            module.write(f"\n{forbidden}\n")
    done = lint_imports(tmp_path)
    assert done.returncode == 1
    assert "Contracts: 0 kept, 9 broken." in done.stdout
    for _, _, said in FORBIDDEN:
        assert said in done.stdout
