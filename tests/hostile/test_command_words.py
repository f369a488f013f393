"""Any words after `ray-mentor`: a run would start, or exit code 2 and a message; never a traceback."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ray_mentor import cli
from ray_mentor.config import TrainConfig


class Said(NamedTuple):
    code: int
    out: str
    err: str


Command = Callable[[Sequence[str]], Said]


@pytest.fixture
def command(capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Command:
    """Runs a command up to the moment when training would start."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("ray_mentor.training.train", lambda config, **_: None)

    def run(words: Sequence[str]) -> Said:
        try:
            code = cli.main(words)
        except SystemExit as leave:
            code = int(leave.code or 0)
        captured = capsys.readouterr()
        assert code in (0, 2), captured.err
        assert "Traceback" not in captured.err
        assert code == 0 or len(captured.err) > 10 or not words
        return Said(code, captured.out, captured.err)

    return run


options = st.sampled_from([f"--{name.replace('_', '-')}" for name in TrainConfig().flat()] + ["--config", "--verbose"])
values = st.one_of(
    st.integers().map(str),
    st.floats().map(str),
    st.sampled_from(
        [
            "",
            "-",
            "--",
            "None",
            "True",
            "1e400",
            "9" * 5000,
            "x" * 5000,
            "a\0b",
            "\udcff",
            "\x1b[31m",
            "{x}",
            "%s",
            "~",
            "/",
        ]
    ),
    st.text(st.characters(exclude_categories=["Cs"]), max_size=6),
)
words = st.lists(st.one_of(options, values, st.tuples(options, values).map("=".join)), max_size=6)


@settings(max_examples=100, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(words=words)
def test_any_words(command: Command, words: list[str]) -> None:
    command(["train", *words])


@settings(max_examples=30, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(words=st.lists(values, min_size=1, max_size=2))
def test_any_command(command: Command, words: list[str]) -> None:
    command(words)


@pytest.mark.parametrize(
    ("option", "value", "message"),
    [
        ("--epochs", "9" * 5000, "epochs"),
        ("--epochs", str(2**63), "but it must lie between"),
        ("--learning-rate", "1e308", "but it must be below 1e+18 in size"),
        ("--data", "a\0b", "but it must be UTF-8 without the character NUL"),
        ("--label-column", "\udcff", "but it must be UTF-8 without the character NUL"),
    ],
)
def test_values_that_no_run_can_have(command: Command, option: str, value: str, message: str) -> None:
    said = command(["train", option, value])
    assert said.code == 2
    assert message in " ".join(said.err.replace("│", " ").split())


def test_a_message_cannot_steer_the_terminal(command: Command) -> None:
    said = command(["train\x1b]0;owned\x07"])
    valid = "train, tune, compare, pick, predict, evaluate, export, report, audit, distill, teach"
    assert said.err == f"error: unknown command 'train\\x1b]0;owned\\x07'; valid: {valid}\n"
    said = command(["train", "--noise", "\x1b[2J\u202e"])
    assert "\x1b" not in said.err
    assert "\u202e" not in said.err


def test_a_name_of_bytes_that_are_not_utf8(command: Command) -> None:
    said = command(["train", "--config", os.fsdecode(b"\xff.toml")])
    assert said == Said(
        2,
        "",
        r"error: a word of the command is '\udcff.toml', but it must be UTF-8 without the character NUL; give another"
        "\n",
    )


def test_the_settings_are_those_of_the_words(monkeypatch: pytest.MonkeyPatch) -> None:
    """The stand-in for training takes what training takes."""
    seen: list[Any] = []
    monkeypatch.setattr("ray_mentor.training.train", lambda config, **_: seen.append(config))
    assert cli.main(["train", "--epochs", "7"]) == 0
    assert seen[0].run.epochs == 7
