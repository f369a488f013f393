"""``ray-mentor compare``: mistakes before Ray starts, and Ctrl-C in the middle."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import ray
from driver import A_LONG_TIME

from ray_mentor import cli

QUICK = ("--train-size", "300", "--test-size", "100", "--epochs", "2")


@pytest.fixture
def said(capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """Runs a command that must be refused, in an empty folder and without Ray; returns what it says."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(ray, "init", lambda **_: pytest.fail("Ray was started"))

    def run(*words: str) -> str:
        try:
            code = cli.main(("compare", *words))
        except SystemExit as left:  # what a setting alone can tell is said by the parser, in a box
            code = int(str(left.code))
        assert code == 2
        assert not (tmp_path / "runs").exists(), "nothing is written for one that is refused"
        return " ".join(capsys.readouterr().err.split())

    return run


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (
            ("--methods", "mentornt"),
            "unknown method 'mentornt' (nearest: mentornet); valid: uniform, uniform-tr",
        ),
        (
            ("--method", "gce"),
            "error: method is 'gce', but in a comparison each method says this itself; leave --method out",
        ),
        (("--loss", "gce"), "error: loss is 'gce', but in a comparison each method says this itself; leave --loss out"),
        (("--metods", "gce"), "error: unknown option --metods: did you mean --methods?"),
        (("--methods", "mine=mine.toml"), "error: there is no config file 'mine.toml'"),
        (
            ("--methods", "mentornet-pd", "--mentor-params", "no.npz"),
            "error: method 'mentornet-pd': no.npz does not exist; give the path of publ",
        ),
        (("--preset", "fast"), "invalid choice 'fast' for argument '--preset'"),
        (("--seeds", "0"), "seeds is 0, but it must be at least 1"),
        (("--meta-sizes", "-1"), "meta_sizes is -1, but it must be at least 0"),
        (("--run-name", "gone", "--resume"), "error: there is no comparison"),
        (("--student", "mpl"), "error: method 'uniform-trusted': unknown student 'mpl' (nearest: mlp); valid: "),
    ],
)
def test_what_is_refused(said: Callable[..., str], words: tuple[str, ...], says: str) -> None:
    assert says in said(*words)


@pytest.mark.slow
@pytest.mark.ray
@pytest.mark.timeout(1800)
def test_ctrl_c_stops_a_comparison_and_it_goes_on(tmp_path: Path) -> None:
    words = ("compare", "--methods", "gce", "--seeds", "1", *QUICK, "--run-name", "mine", "--concurrent", "1")
    whole = tmp_path / "runs" / "mine"
    first = start(tmp_path, *words)
    deadline = time.monotonic() + A_LONG_TIME
    while first.poll() is None and not list(whole.glob("runs/*/result.json")):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    first.send_signal(signal.SIGINT)
    assert first.wait(A_LONG_TIME) == 130
    log = (tmp_path / "log").read_text()
    kept = f"stopped; saved: {whole}, its finished runs, and the checkpoints of the others\nto go on:\n"
    assert log.endswith(f"{kept}  {sys.executable} -m ray_mentor {' '.join(words)} --resume\n")
    assert "Traceback" not in log
    assert not (whole / "compare.json").exists()
    assert start(tmp_path, *words, "--resume").wait(A_LONG_TIME) == 0, (tmp_path / "log").read_text()
    found = json.loads((whole / "compare.json").read_text())
    assert {line["method"]: line["seeds"] for line in found["lines"]} == {"uniform-trusted": 1, "gce": 1, "oracle": 1}


def start(folder: Path, *words: str) -> subprocess.Popen[bytes]:
    with (folder / "log").open("ab") as log:
        return subprocess.Popen(
            [sys.executable, "-m", "ray_mentor", *words], cwd=folder, stdout=log, stderr=subprocess.STDOUT
        )
