"""Where Python has no locks on files, as on Windows: commands say so at once, and the core needs none."""

from __future__ import annotations

import subprocess
import sys

import pytest

WITHOUT_LOCKS = """
import builtins, sys
imported = builtins.__import__

def without(name, globals=None, *rest):
    if name == "fcntl" and str((globals or {}).get("__name__")).startswith("ray_mentor"):
        raise ModuleNotFoundError("No module named 'fcntl'", name="fcntl")
    return imported(name, globals, *rest)

builtins.__import__ = without
"""
SAID = (
    f"this is {sys.platform}, but runs and sweeps are made on Linux and macOS: they lock files; on Windows, use WSL. "
    "ray_mentor.LearnedCurriculum, for a training loop of your own, needs no locks"
)


def python(code: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", WITHOUT_LOCKS + code]
    return subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)


@pytest.mark.parametrize("words", [["train", "--workers", "0"], ["tune", "smoke"]])
def test_a_command_says_so_before_it_loads_anything(words: list[str]) -> None:
    done = python(f"from ray_mentor.cli import main\nprint(main({words}), {{'torch', 'ray'}} & set(sys.modules))")
    assert (done.stdout, done.stderr) == ("2 set()\n", f"error: {SAID}\n")


def test_its_help_is_shown_all_the_same() -> None:
    done = python("from ray_mentor.cli import main\nmain(['train', '--help'])")
    assert "--workers" in done.stdout
    assert done.stderr == ""


@pytest.mark.parametrize("module", ["ray_mentor.data.readers.tables.read", "ray_mentor.training", "ray_mentor.sweep"])
def test_so_does_what_needs_them(module: str) -> None:
    done = python(f"import {module}")
    assert done.stderr.splitlines()[-1] == f"ray_mentor.errors.UserError: {SAID}"


def test_the_core_needs_none() -> None:
    done = python(
        "import importlib, pkgutil, ray_mentor.core\n"
        "for module in pkgutil.walk_packages(ray_mentor.core.__path__, 'ray_mentor.core.'):\n"
        "    importlib.import_module(module.name)\n"
        "import ray_mentor\n"
        "print(ray_mentor.LearnedCurriculum.__name__)"
    )
    assert (done.stdout, done.stderr) == ("LearnedCurriculum\n", "")
