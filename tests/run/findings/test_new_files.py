"""Files under names of the user's own are whole or not there, and nothing is lost for them."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, BinaryIO

import pytest

from ray_mentor.errors import UserError
from ray_mentor.run.findings.new_files import write_new


def full(file: BinaryIO) -> None:
    """The disk is full when half of it is written."""
    file.write(b"half")
    file.flush()
    raise OSError(28, "No space left on device")


def test_what_breaks_off_leaves_nothing_behind(tmp_path: Path) -> None:
    path = str(tmp_path / "rule.json")
    with pytest.raises(UserError, match=r"rule.json' cannot be written \(\[Errno 28\] No space .*give another name"):
        write_new(path, full)
    assert os.listdir(tmp_path) == []
    write_new(path, lambda file: file.write(b"whole"))
    assert (tmp_path / "rule.json").read_bytes() == b"whole"
    assert os.listdir(tmp_path) == ["rule.json"]


@pytest.mark.parametrize("links", [True, False])
def test_nobody_reads_half_of_it(tmp_path: Path, links: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    def none(*_: Any) -> None:
        raise PermissionError(1, "no links here")

    if not links:
        monkeypatch.setattr(os, "link", none)
    path, seen = tmp_path / ("x" * 255), []

    def fill(file: BinaryIO) -> None:
        file.write(b"half")
        file.flush()
        seen.append(path.exists())

    write_new(str(path), fill)
    assert (seen, path.read_bytes()) == ([False], b"half")


def test_what_another_one_wrote_in_the_meantime_stays(tmp_path: Path) -> None:
    path = tmp_path / "rule.json"
    with pytest.raises(UserError, match=r"rule.json' is there already; give another name, or remove it first"):
        write_new(str(path), lambda _: path.write_text("theirs"))
    assert path.read_text() == "theirs"
    assert os.listdir(tmp_path) == ["rule.json"]


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="lies in a folder that is not there; make it first"):
        write_new(str(tmp_path / "none/rule.json"), full)
