"""The shell of cluster/: the Slurm script, the launcher's commands, and what the README tells a user to type."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
from cluster_files import FOLDER, LAUNCHER, SHELL, filled, launcher_lines, loaded, read, shell_blocks

SHELLCHECK = Path(sys.executable).with_name("shellcheck")


def checked(script: str, *exclude: str) -> str:
    """What ShellCheck says of a script of bash."""
    said = subprocess.run(
        [SHELLCHECK, "--shell=bash", *(f"--exclude={code}" for code in exclude), "-"],
        input=script, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert said.returncode in (0, 1), said.stderr
    return said.stdout


@pytest.mark.parametrize("name", SHELL)
def test_the_script_is_clean(name: str) -> None:
    assert checked(filled(read(name))) == ""


@pytest.mark.parametrize("name", LAUNCHER)
def test_the_launchers_commands_are_clean(name: str) -> None:
    # 1091: a file that is sourced is on the machines alone; 2154: Ray sets RAY_HEAD_IP
    assert checked("\n".join(launcher_lines(loaded(name))), "SC1091", "SC2154") == ""


def test_the_readmes_commands_are_clean() -> None:
    blocks = shell_blocks(FOLDER / "README.md")[:-1]
    assert len(blocks) == 4
    assert [checked(block) for block in blocks] == [""] * 4


def test_the_first_run_has_ten_commands() -> None:
    assert len(shell_blocks(FOLDER / "README.md")[0].strip().splitlines()) == 10


def test_an_unquoted_variable_is_found() -> None:
    assert "SC2086" in checked('folder="$1"\nrm $folder\n')


def test_slurm_reads_its_options_before_the_first_command() -> None:
    lines = read("slurm.sh").splitlines()
    options = [i for i, line in enumerate(lines) if line.startswith("#SBATCH ")]
    first = next(i for i, line in enumerate(lines) if line and not line.startswith("#"))
    assert options
    assert options[-1] < first
    assert lines[0] == "#!/usr/bin/env bash"


def test_slurms_options_are_known_ones() -> None:
    known = {
        "job-name", "partition", "nodes", "ntasks-per-node", "gpus-per-node", "cpus-per-task", "exclusive", "no-kill",
        "requeue", "signal", "open-mode", "time",
    }  # fmt: skip
    assert set(re.findall(r"^#SBATCH --([\w-]+)", read("slurm.sh"), re.MULTILINE)) == known
