"""The page on texts: its blocks run as they stand, and its commands on fewer passages, for an epoch."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest
from docs_files import DOCS, ROOT, python_blocks

from ray_mentor import cli

pytest.importorskip("transformers")
pytestmark = pytest.mark.long

PAGE = DOCS / "text.md"
DOMAINS = ROOT.parent / "shared/data/domains"
COMMANDS = re.findall(r"^    ray-mentor (.*)$", PAGE.read_text(), re.MULTILINE)
SHORT = ["--epochs", "1", "--train-size", "160", "--workers", "0", "--test-size", "40"]


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    if not DOMAINS.is_dir():
        pytest.skip(f"{DOMAINS} is not there")
    (tmp_path / "domains").symlink_to(DOMAINS)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TOKENIZERS_PARALLELISM", "false")  # which a pipeline sets, and leaves so
    return tmp_path


def test_the_page(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    make, use = python_blocks(PAGE)
    exec(make, {})  # noqa: S102 - our own pages
    assert len((here / "passages.csv").read_text().splitlines()) == 2401
    _, *commands = map(shlex.split, COMMANDS)
    assert [words[0] for words in commands] == ["train", "audit", "pick", "predict", "evaluate", "export"]
    for words in commands:
        assert cli.main([*words, *SHORT] if words[0] == "train" else words) == 0, words
    assert json.loads((here / "runs/first/result.json").read_text())["method"] == "mentornet"
    assert (here / "checked.csv").read_text().splitlines()[0].endswith('"text"')
    assert len((here / "predictions.csv").read_text().splitlines()) == 2401
    capsys.readouterr()
    exec(use, {})  # noqa: S102
    ours, theirs = capsys.readouterr().out.splitlines()[-2:]
    assert re.findall(r"'(drama|speeches)'", ours) == re.findall(r"'label': '(\w+)'", theirs)


def test_the_first_command_is_one_of_this_kind(here: Path) -> None:
    """It names data of the reader's: what it asks for is understood."""
    (here / "reviews.csv").write_text("review,stars\n" + "".join(f"a film {i},{i % 2}\n" for i in range(400)))
    (here / "FOLDER").mkdir()
    assert cli.main([*shlex.split(COMMANDS[0]), *SHORT]) == 2  # a folder without a model
