"""The Slurm script, run by bash with stand-ins for what a Slurm node has: what it hands to Ray, and its token."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from cluster_files import read

SRUN = """#!/usr/bin/env bash
printf '%s\\n' "$@" > "$SAID"
printf '%s\\n' "$RAY_AUTH_MODE" "$RAY_TMPDIR" "$(stat --format=%a "$RAY_AUTH_TOKEN_PATH")" \
  "$(wc --chars < "$RAY_AUTH_TOKEN_PATH")" > "$SAID.environment"
exit "${SRUN_CODE:-0}"
"""


class Node:
    """A folder with a virtual environment, results, and programs that say what they were told."""

    def __init__(self, folder: Path) -> None:
        self.said = folder / "said"
        self.results = folder / "results"
        programs = folder / "bin"
        programs.mkdir()
        (programs / "activate").touch()
        self._program(programs / "srun", SRUN)
        self._program(programs / "hostname", "#!/bin/sh\necho '10.0.0.5 192.168.1.5 '\n")
        (programs / "python").symlink_to(sys.executable)
        self.script = folder / "slurm.sh"
        filled = read("slurm.sh").replace("<YOUR-VENV>", str(folder)).replace("<YOUR-RESULTS>", str(self.results))
        self.script.write_text(filled)
        self.environment = {
            "PATH": f"{programs}:{os.environ['PATH']}", "SLURM_JOB_ID": "1234567", "SLURM_JOB_NUM_NODES": "2",
            "SLURM_CPUS_PER_TASK": "8", "SAID": str(self.said),
        }  # fmt: skip

    def _program(self, path: Path, text: str) -> None:
        path.write_text(text)
        path.chmod(0o755)

    def run(self, **environment: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["bash", self.script],
            env={**self.environment, **environment}, capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip

    def words(self) -> list[str]:
        return self.said.read_text().splitlines()


@pytest.fixture
def node(tmp_path: Path) -> Node:
    return Node(tmp_path)


def test_it_starts_ray_on_all_nodes_and_the_run_on_the_first(node: Node) -> None:
    done = node.run()
    assert (done.returncode, done.stderr) == (0, "")
    ray, run = " ".join(node.words()).split(" -- ")
    assert ray == "--no-kill ray symmetric-run --address 10.0.0.5:24567 --min-nodes 2 --num-cpus=8"
    assert run == (
        "env RAY_ADDRESS=10.0.0.5:24567 python -m ray_mentor train --gpu --workers 2 --min-workers 1 "
        f"--storage-path {node.results} --run-name slurm-1234567 --resume-or-start"
    )


def test_only_its_owner_can_read_the_token_which_goes_with_the_job(node: Node) -> None:
    node.run()
    said = (node.said.parent / "said.environment").read_text().split()
    assert said == ["token", "/tmp/ray-mentor-1234567", "600", "64"]
    assert list(node.results.iterdir()) == []


def test_a_run_that_fails_fails_the_job_and_leaves_no_token(node: Node) -> None:
    assert node.run(SRUN_CODE="2").returncode == 2
    assert list(node.results.iterdir()) == []
