"""``ray-mentor tune``: mistakes before the first trial, and a sweep whose driver is killed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import ray
from driver import A_LONG_TIME

from ray_mentor import cli
from ray_mentor.config.file import read_config

QUICK = ("--train-size", "300", "--test-size", "100", "--epochs", "6")


@pytest.fixture
def said(capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """Runs a command that must be refused, in an empty folder and without Ray; returns what it says."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(ray, "init", lambda **_: pytest.fail("Ray was started"))

    def run(*words: str) -> str:
        assert cli.main(words) == 2
        return capsys.readouterr().err.strip()

    return run


def test_the_space_comes_first(said: Callable[..., str]) -> None:
    expected = "error: tune needs what it shall search as its first word, e.g. ray-mentor tune joint; see --help"
    assert said("tune") == expected
    assert said("tune", "--trials", "2") == expected


def test_an_unknown_space(said: Callable[..., str]) -> None:
    text = said("tune", "jont")
    assert "unknown space 'jont' (nearest: joint)" in text
    assert "curriculum, joint, mentor_architecture, smoke, update_frequency" in text


def test_a_space_whose_samples_are_not_valid(said: Callable[..., str], tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(
        "from ray import tune\n\ndef space():\n    return {'update_interval': tune.choice([0])}\n"
    )
    text = said("tune", "mine.py")
    assert "update_interval is 0, but it must be at least 1" in text
    assert "such a sample: update_interval=0" in text


def test_trials_that_can_never_be_placed(said: Callable[..., str]) -> None:
    assert "the workers need 1000 CPUs, but there are" in said("tune", "smoke", "--workers", "1000")


def test_a_job_whose_sweep_would_go_with_what_it_uploaded(
    said: Callable[..., str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = tmp_path / "runtime_resources/working_dir_files/_ray_pkg_0a1b"
    here.mkdir(parents=True)
    monkeypatch.chdir(here)
    assert "lies in Ray's copy of what this job uploaded, which Ray removes" in said("tune", "smoke")
    assert list(here.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "share", "size"), [(("--meta-holdout", "0"), "0", 100), (("--meta-size", "10"), "0.3", 10)]
)
def test_no_held_out_trusted_samples(
    said: Callable[..., str], arguments: tuple[str, ...], share: str, size: int
) -> None:
    assert said("tune", "smoke", *arguments) == (
        f"error: meta_holdout is {share}, of {size} trusted samples, but a sweep chooses by the accuracy on held-out "
        "ones, never on the test split; give a share above 0, e.g. --meta-holdout 0.3, and more than one sample of "
        "each class"
    )


def test_pbt_on_what_cannot_change(said: Callable[..., str], tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(
        "from ray import tune\n\ndef space():\n    return {'mentor_width': tune.choice([8, 16])}\n"
    )
    text = said("tune", "mine.py", "--scheduler", "pbt")
    assert text.startswith("error: scheduler pbt changes settings in the middle of a run, but this space has none")
    assert not (tmp_path / "runs").exists(), "nothing is written for a sweep that is refused"


def test_nothing_to_resume(said: Callable[..., str]) -> None:
    assert "there is no sweep" in said("tune", "smoke", "--run-name", "gone", "--resume")


def test_a_misspelt_setting_in_a_config_file(said: Callable[..., str], tmp_path: Path) -> None:
    (tmp_path / "c.toml").write_text("trails = 3\n")
    assert said("tune", "smoke", "--config", "c.toml").startswith(
        "error: unknown setting 'trails'; nearest valid: trials"
    )


@pytest.mark.slow
@pytest.mark.ray
@pytest.mark.timeout(1800)  # several long times, one after the other
def test_a_sweep_whose_driver_was_killed_goes_on_and_repeats_no_finished_trial(tmp_path: Path) -> None:
    sweep = tmp_path / "runs" / "mine"
    words = (
        "tune",
        "smoke",
        "--trials",
        "3",
        "--scheduler",
        "none",
        "--confirm-seeds",
        "2",
        "--run-name",
        "mine",
        *QUICK,
    )
    first = start(tmp_path, *words, "--concurrent", "1")
    wait_until(lambda: first.poll() is not None or len(list(sweep.glob("runs/*/result.json"))) >= 1)
    assert first.poll() is None
    os.kill(first.pid, signal.SIGKILL)
    first.wait()
    finished = {path: path.stat().st_mtime_ns for path in sweep.glob("runs/*/result.json")}
    assert 1 <= len(finished) < 3
    assert not (sweep / "sweep.json").exists()

    again = start(tmp_path, *words, "--concurrent", "1", "--resume")
    assert again.wait(A_LONG_TIME) == 0, (tmp_path / "log").read_text()
    now = {path: path.stat().st_mtime_ns for path in sweep.glob("runs/*/result.json")}
    assert len(now) == 3
    assert not list(sweep.glob(".tune*"))
    assert {path: now[path] for path in finished} == finished
    # What a sweep leaves.
    summary = json.loads((sweep / "sweep.json").read_text())
    assert summary["states"] == {"finished": 3}
    assert len(summary["confirm"]["best"]["test_accuracy"]) == 2
    assert len(pd.read_parquet(sweep / "trials.parquet")) == 3
    assert (sweep / "sweep.html").stat().st_size > 100_000
    log = (tmp_path / "log").read_text()
    assert "is it really better?" in log
    assert "Traceback" not in log
    # The best settings are a config that train takes as it is.
    best = read_config(str(sweep / "best.toml"))
    assert best["update_interval"] == summary["best"]["settings"]["update_interval"]
    run = start(tmp_path, "train", "--config", str(sweep / "best.toml"))
    assert run.wait(A_LONG_TIME) == 0, (tmp_path / "log").read_text()
    # Whoever starts it again without saying so is refused.
    assert start(tmp_path, *words).wait(A_LONG_TIME) == 2
    assert "is there already" in (tmp_path / "log").read_text()


MINE = ("--run-name", "mine", "--resume-or-start")


@pytest.mark.slow
@pytest.mark.ray
@pytest.mark.timeout(1800)
def test_ctrl_c_stops_a_sweep_and_it_goes_on(tmp_path: Path) -> None:
    """By the same command, which starts what is not there."""
    words = ("tune", "smoke", "--trials", "2", "--confirm-seeds", "0", "--epochs", "40", *MINE)
    sweep = tmp_path / "runs" / "mine"
    first = start(tmp_path, *words)
    wait_until(lambda: first.poll() is not None or len(list(sweep.glob("runs/*/config.toml"))) == 2)
    first.send_signal(signal.SIGINT)
    assert first.wait(A_LONG_TIME) == 130
    log = (tmp_path / "log").read_text()
    kept = f"stopped; saved: {sweep}, its finished trials, and the checkpoints of the others\nto go on:\n"
    assert log.endswith(f"{kept}  {sys.executable} -m ray_mentor {' '.join(words)}\n")
    assert "Traceback" not in log
    assert not (sweep / "sweep.json").exists()
    assert start(tmp_path, *words).wait(A_LONG_TIME) == 0, (tmp_path / "log").read_text()
    assert json.loads((sweep / "sweep.json").read_text())["states"]["finished"] >= 1


def start(folder: Path, *words: str) -> subprocess.Popen[bytes]:
    with (folder / "log").open("ab") as log:
        return subprocess.Popen(
            [sys.executable, "-m", "ray_mentor", *words], cwd=folder, stdout=log, stderr=subprocess.STDOUT
        )


def wait_until(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + A_LONG_TIME
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.05)
