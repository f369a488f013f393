"""What ``--help`` and ``--help-all`` say, that it is all there is, and that its examples are commands."""

from __future__ import annotations

import re
import shlex
from typing import Any

import pytest

from ray_mentor import cli
from ray_mentor.config import TrainConfig
from ray_mentor.config.compare import CompareConfig
from ray_mentor.config.sweep import SweepConfig
from ray_mentor.help import COMPARE, TRAIN, TUNE, check_options

DEFAULTS = {"train": TrainConfig().flat(), "tune": SweepConfig().flat(), "compare": CompareConfig().flat()}


def said(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    assert cli.main(words) == 0
    captured = capsys.readouterr()
    assert captured.err == ""
    return captured.out


def options(text: str) -> dict[str, str]:
    """Option to what --help-all says of it."""
    found = re.split(r"^  --([\w-]+)(?:, --no-[\w-]+| [^\n]+)\n", text, flags=re.MULTILINE)
    return {name: " ".join(says.split()) for name, says in zip(found[1::2], found[2::2], strict=True)}


@pytest.mark.parametrize(("command", "daily"), [("train", TRAIN), ("tune", TUNE), ("compare", COMPARE)])
def test_help_has_fifteen_options_with_their_defaults_and_three_examples(
    capsys: pytest.CaptureFixture[str], command: str, daily: dict[str, str]
) -> None:
    text = said(capsys, command, "--help")
    lines = dict(re.findall(r"^  --([\w-]+) +(\S.*)$", text, re.MULTILINE))
    assert len(lines) == len(daily) == 15
    for name in daily:
        default = DEFAULTS[command][name]
        line = lines[name.replace("_", "-")]
        assert line.endswith(f"({default})") == (default is not None and default is not False and default != ()), line
        assert "()" not in line
    assert len(re.findall(r"^  ray-mentor ", text, re.MULTILINE)) == 3
    assert max(map(len, text.splitlines())) <= 110
    assert len(text.splitlines()) <= 35
    assert "--help-all" in text


@pytest.mark.parametrize("command", ["train", "tune", "compare"])
def test_its_examples_are_commands(
    capsys: pytest.CaptureFixture[str], command: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = said(capsys, command, "-h")
    for line in re.findall(r"^  ray-mentor (.*)$", text, re.MULTILINE):
        words = shlex.split(line)
        assert words.pop(0) == command
        if command == "tune":
            _, words = cli._space(words)
        kinds: dict[str, Any] = {"train": TrainConfig, "tune": SweepConfig, "compare": CompareConfig}
        cli._parsed(words, kinds[command], "")


@pytest.mark.parametrize("command", ["train", "tune", "compare"])
def test_help_all_says_of_every_setting_what_it_means_and_its_default(
    capsys: pytest.CaptureFixture[str], command: str
) -> None:
    found = options(said(capsys, command, "--help-all"))
    assert set(found) == {name.replace("_", "-") for name in DEFAULTS[command]}
    for name, text in found.items():
        meaning, _, default = text.partition("(default: ")
        assert default, name
        assert len(re.findall(r"[A-Za-z]{2,}", meaning)) > 3, f"--help-all says too little of {name}: {meaning}"


def test_its_lines_are_wrapped_once(capsys: pytest.CaptureFixture[str]) -> None:
    text = said(capsys, "train", "--help-all")
    assert max(map(len, text.splitlines())) <= 100
    assert (
        "      memory: inputs are decoded at every start; the better choice up to some 50,000 images of 32x32\n"
        "      (0.15 GiB of pixels). arrow: they are decoded once, into a file that all processes of a node\n"
    ) in text


@pytest.mark.parametrize(
    ("name", "unit"),
    [
        ("checkpoint-seconds", "Seconds"),
        ("epochs", "Passes"),
        ("batch-size", "Samples"),
        ("update-interval", "Student steps"),
        ("test-share", "Share"),
        ("workers", "0 trains in this process"),
        ("noise", "rate R in [0, 1)"),
    ],
)
def test_options_name_their_unit(capsys: pytest.CaptureFixture[str], name: str, unit: str) -> None:
    assert unit in options(said(capsys, "train", "--help-all"))[name]


def test_what_an_option_takes_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    text = said(capsys, "tune", "joint", "--help-all")
    for line in (
        "  --epochs INTEGER\n",
        "  --learning-rate NUMBER\n",
        "  --gpu, --no-gpu\n",
        "  --mentor-hidden INTEGER ...\n",
        "  --scheduler {asha,pbt,none}\n",
        "  --objective {accuracy,gap-per-cost}\n",
        "  --meta-data TEXT\n",
        "  --workers {INTEGER,auto}\n",
    ):
        assert line in text


def test_options_that_are_no_settings_are_in_both(capsys: pytest.CaptureFixture[str]) -> None:
    for which in ("--help", "--help-all"):
        text = " ".join(said(capsys, "train", which).split())
        assert "--config FILE" in text
        assert "-v or --verbose" in text


def test_every_spelling_that_is_parsed_is_known() -> None:
    known = list(DEFAULTS["train"])
    words = [
        "--update_interval",
        "--update-interval=3",
        "--no-gpu",
        "--config",
        "a.toml",
        "-v",
        "--verbose",
        "--",
        "-1",
    ]
    check_options(words, known, "")
