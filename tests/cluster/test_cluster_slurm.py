"""The Slurm script, run by bash with stand-ins for what a Slurm node has: what it hands to Ray, its token, its end."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from cluster_files import read

SRUN = """#!/usr/bin/env bash
printf '%s\\n' "$@" >> "$SAID"
[ "$1" = --no-kill ] && shift
exec "$@"
"""
RAY = """#!/usr/bin/env bash
if [ "$1" = stop ]; then echo stopped > "$SAID.stopped"; exit; fi
printf '%s\\n' "$RAY_AUTH_MODE" "$RAY_TMPDIR" "$RAY_AUTH_TOKEN" > "$SAID.environment"
stat --format %a "$RAY_TMPDIR" > "$SAID.mode"
[ -z "$(ls "$RAY_TMPDIR")" ] || echo "there are files of another try" > "$SAID.left"
touch "$RAY_TMPDIR/session"
while [ "$1" != -- ]; do shift; done
shift
"$@"
"""
PYTHON = """#!/usr/bin/env bash
[ "$1" = -m ] || exec REAL "$@"
trap 'echo term >> "$SAID.signals"; [ -n "${FINISHES:-}" ] || exit 143' TERM
echo $$ > "$SAID.pid"
for _ in $(seq "${RUNS_FOR:-0}"); do sleep 0.1; done
[ -n "${FINISHES:-}" ] && mkdir -p "$FINISHES" && touch "$FINISHES/result.json"
exit "${RUN_CODE:-0}"
"""
SQUEUE = """#!/usr/bin/env bash
[ -z "${UNREACHABLE:-}" ] || { echo "slurm_load_jobs error: Socket timed out" >&2; exit 1; }
case "$*" in
  "--noheader --user=$(id -u) --format=%A") printf '%s\\n' 77 1234567 ;;
esac
"""
SCONTROL = """#!/usr/bin/env bash
echo "scontrol $*" >> "$SAID.slurm"
"""


class Node:
    """A folder with a virtual environment, results, and programs that say what they were told."""

    def __init__(self, folder: Path) -> None:
        self.said = folder / "said"
        self.results = folder / "results"
        self.temporary = folder / "ray-mentor-1234567"
        programs = folder / "bin"
        programs.mkdir()
        (programs / "activate").touch()
        for name, text in (
            ("srun", SRUN),
            ("ray", RAY),
            ("python", PYTHON),
            ("scontrol", SCONTROL),
            ("squeue", SQUEUE),
        ):
            self._program(programs / name, text.replace("REAL", sys.executable))
        self._program(programs / "hostname", "#!/bin/sh\necho '10.0.0.5 192.168.1.5 '\n")
        self.script = folder / "slurm.sh"
        filled = read("slurm.sh").replace("<YOUR-VENV>", str(folder)).replace("<YOUR-RESULTS>", str(self.results))
        assert 'RAY_TMPDIR="/tmp/ray-mentor-$SLURM_JOB_ID"' in filled
        self.script.write_text(filled.replace('RAY_TMPDIR="/tmp/', f'RAY_TMPDIR="{folder}/'))
        self.environment = {
            "PATH": f"{programs}:{os.environ['PATH']}", "SLURM_JOB_ID": "1234567", "SLURM_JOB_NUM_NODES": "2",
            "SLURM_CPUS_PER_TASK": "8", "SAID": str(self.said),
        }  # fmt: skip

    def _program(self, path: Path, text: str) -> None:
        path.write_text(text)
        path.chmod(0o755)

    def start(self, **environment: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            ["bash", self.script],
            env={**self.environment, **environment}, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip

    def run(self, **environment: str) -> subprocess.CompletedProcess[str]:
        with self.start(**environment) as process:
            out, err = process.communicate(timeout=60)
        return subprocess.CompletedProcess(process.args, process.returncode, out, err)

    def run_until_its_time_is_up(self, **environment: str) -> int:
        """With Slurm's warning, once Ray has started."""
        with self.start(**environment) as process:
            deadline = time.monotonic() + 60
            while not self.note("pid"):
                assert time.monotonic() < deadline
                time.sleep(0.01)
            process.send_signal(signal.SIGUSR1)
            return process.wait(60)

    def note(self, name: str) -> str:
        file = self.said.with_name(f"said.{name}")
        return file.read_text().strip() if file.exists() else ""


@pytest.fixture
def node(tmp_path: Path) -> Node:
    return Node(tmp_path)


def test_it_starts_ray_on_all_nodes_and_the_run_on_the_first(node: Node) -> None:
    done = node.run()
    assert (done.returncode, done.stderr) == (0, "")
    words = node.said.read_text()
    assert words.startswith("--no-kill\nbash\n-c\n")
    ray, run = " ".join(words.split("\non_each_node\n")[1].split()).split(" -- ")
    assert ray == "ray symmetric-run --address 10.0.0.5:24567 --min-nodes 2 --num-cpus=8"
    assert run == (
        'env RAY_ADDRESS=10.0.0.5:24567 bash -c echo "$$" > "$RAY_TMPDIR/run.pid"; exec "$@" numbered '
        "python -m ray_mentor train --gpu --workers 2 --min-workers 1 "
        f"--storage-path {node.results} --run-name slurm-1234567 --resume-or-start"
    )


def test_the_token_lies_in_no_file_and_is_another_for_each_job(node: Node) -> None:
    tokens = set()
    for _ in range(2):
        node.run()
        mode, folder, token = node.note("environment").split()
        assert (mode, folder) == ("token", str(node.temporary))
        assert len(bytes.fromhex(token)) == 32
        assert token not in node.said.read_text(), "all users can see the words of a process"
        tokens.add(token)
    assert len(tokens) == 2
    assert list(node.results.iterdir()) == []


@pytest.mark.parametrize("code", [0, 2])
def test_a_run_that_ends_ends_the_job_and_leaves_nothing(node: Node, code: int) -> None:
    assert node.run(RUN_CODE=str(code)).returncode == code
    assert list(node.results.iterdir()) == []
    assert not node.temporary.exists()
    assert node.note("slurm") == ""


def test_what_a_killed_try_has_left_goes(node: Node) -> None:
    node.temporary.mkdir()
    (node.temporary / "session_of_old").touch()
    assert node.run().returncode == 0
    assert node.note("left") == ""
    assert not node.temporary.exists()


def test_what_killed_jobs_have_left_goes_and_what_others_use_stays(node: Node) -> None:
    """Whom Slurm kills removes nothing, and another job's folder has another name."""
    killed, alive, another = (node.temporary.with_name(name) for name in ("ray-mentor-66", "ray-mentor-77", "mine-66"))
    for folder in (killed, alive, another):
        folder.mkdir()
        (folder / "session").touch()
    assert node.run().returncode == 0
    assert not killed.exists()
    assert (alive / "session").exists()
    assert (another / "session").exists()


def test_nothing_of_other_jobs_goes_where_slurm_does_not_say_which_are_alive(node: Node) -> None:
    alive = node.temporary.with_name("ray-mentor-77")
    for folder in (node.temporary, alive):
        folder.mkdir()
        (folder / "session").touch()
    assert node.run(UNREACHABLE="yes").returncode == 0
    assert (alive / "session").exists()
    assert node.note("left") == "", "what is its own goes in any case"
    assert not node.temporary.exists()


def test_only_its_owner_can_enter_the_folder(node: Node) -> None:
    assert node.run().returncode == 0
    assert node.note("mode") == "700"


def test_a_folder_in_its_place_that_cannot_be_removed_ends_the_job(node: Node) -> None:
    """As another user's: Ray's sockets would lie in it."""
    node.temporary.mkdir()
    (node.said.with_name("bin") / "rm").write_text("#!/bin/sh\nexit 1\n")
    (node.said.with_name("bin") / "rm").chmod(0o755)
    assert node.run().returncode != 0
    assert node.note("environment") == ""


def test_a_run_whose_time_is_up_is_stopped_and_queued_again(node: Node) -> None:
    assert node.run_until_its_time_is_up(RUNS_FOR="300") == 0
    assert node.note("signals") == "term"
    assert node.note("stopped") == "stopped", "Ray has ended, too"
    assert node.note("slurm") == "scontrol requeue 1234567"
    assert not node.temporary.exists()


def test_a_run_that_ends_when_its_time_is_up_is_not_queued_again(node: Node) -> None:
    finishes = str(node.results / "slurm-1234567")
    assert node.run_until_its_time_is_up(RUNS_FOR="20", FINISHES=finishes) == 0
    assert node.note("signals") == "term"
    assert node.note("slurm") == ""


def test_a_job_that_is_cancelled_is_not_queued_again(node: Node) -> None:
    """``scancel`` sends TERM, and means it."""
    with node.start(RUNS_FOR="300") as process:
        deadline = time.monotonic() + 60
        while not node.note("pid"):
            assert time.monotonic() < deadline
            time.sleep(0.01)
        os.kill(int(node.note("pid")), signal.SIGTERM)
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) != 0
    assert node.note("slurm") == ""
