"""A file that grows by a line at a time: nothing of it is written twice, wherever it lies."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.fs
import pytest

from ray_mentor.errors import UserError
from ray_mentor.run import growing_lines
from ray_mentor.run.directory import RunDirectory
from ray_mentor.run.growing_lines import GrowingLines

NAME = "progress.jsonl"


def lines_in(folder: Path, files: Any = None) -> GrowingLines:
    return GrowingLines(RunDirectory(str(folder), files), NAME)


class AppendsNothing:
    """Files of this machine, with what object stores say to whoever wants to append."""

    def open_append_stream(self, *_: Any, **__: Any) -> Any:
        raise pa.ArrowNotImplementedError("It is not possible to append efficiently to S3 objects")

    def __getattr__(self, name: str) -> Any:
        return getattr(pyarrow.fs.LocalFileSystem(), name)


def test_lines_are_appended(tmp_path: Path) -> None:
    written = lines_in(tmp_path)
    assert written.lines == []
    assert not (tmp_path / NAME).exists(), "who only looks writes nothing"
    written.add("one")
    inode = (tmp_path / NAME).stat().st_ino
    for line in ("two", "three\u2028 and more"):
        written.add(line, at_once=False)
    assert (tmp_path / NAME).read_text() == "one\ntwo\nthree\u2028 and more\n"
    assert (tmp_path / NAME).stat().st_ino == inode, "the file was written anew"
    assert lines_in(tmp_path).lines == ["one", "two", "three\u2028 and more"]


def test_a_line_that_was_cut_off_counts_as_not_written(tmp_path: Path) -> None:
    (tmp_path / NAME).write_text('one\n{"kind": "tri')
    again = lines_in(tmp_path)
    assert again.lines == ["one"]
    assert (tmp_path / NAME).read_text() == 'one\n{"kind": "tri'
    again.add("two")
    assert (tmp_path / NAME).read_text() == "one\ntwo\n"
    (tmp_path / NAME).write_text("cut o")
    lines_in(tmp_path).add("three")
    assert (tmp_path / NAME).read_text() == "three\n"


def test_where_nothing_can_be_appended_lines_are_in_parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = lines_in(tmp_path, AppendsNothing())
    first.add("one")
    for line in ("two", "three"):
        first.add(line, at_once=False)
    assert parts(tmp_path) == {"000000.jsonl": "one\n"}
    first.add("four")
    assert parts(tmp_path) == {"000000.jsonl": "one\n", "000001.jsonl": "two\nthree\nfour\n"}
    again = lines_in(tmp_path, AppendsNothing())
    assert again.lines == ["one", "two", "three", "four"]
    again.add("five", at_once=False)
    assert len(parts(tmp_path)) == 2
    again.close()
    assert parts(tmp_path)["000002.jsonl"] == "five\n"
    monkeypatch.setattr(growing_lines, "_LONGEST_WAIT", -1.0)
    again.add("six", at_once=False)
    assert parts(tmp_path)["000003.jsonl"] == "six\n"


def parts(folder: Path) -> dict[str, str]:
    assert not (folder / NAME).exists()
    return {file.name: file.read_text() for file in sorted((folder / "progress").iterdir())}


def test_a_file_that_was_brought_from_an_object_store_goes_on_in_parts(tmp_path: Path) -> None:
    (tmp_path / "progress").mkdir()
    (tmp_path / "progress" / "000007.jsonl").write_text("one\n")
    (tmp_path / "progress" / "notes.txt").write_text("no part\n")
    here = lines_in(tmp_path)
    assert here.lines == ["one"]
    here.add("two")
    assert lines_in(tmp_path).lines == ["one", "two"]
    assert (tmp_path / "progress" / "000008.jsonl").read_text() == "two\n"


def test_what_is_no_text_or_too_large_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / NAME).write_bytes(b"\xff\xfe\n")
    with pytest.raises(UserError, match=r"progress.jsonl cannot be read \('utf-8' codec .*\); it is damaged: put it"):
        lines_in(tmp_path)
    monkeypatch.setattr(growing_lines, "MOST_BYTES", 3 << 20)
    with (tmp_path / NAME).open("wb") as file:
        file.truncate(40 << 30)
    with pytest.raises(UserError, match=r"progress.jsonl cannot be read \(it is larger than 3 MiB\)"):
        lines_in(tmp_path)


def test_a_line_that_broke_off_half_way_spoils_no_other(tmp_path: Path) -> None:
    """The disk is full in the middle of the second, and has room again for the third."""

    class Full(AppendsNothing):
        def open_append_stream(self, path: str, **_: Any) -> Any:
            if len(written.lines) == 1:
                written.lines.append("two")
                with Path(path).open("a") as file:
                    file.write("tw")
                raise OSError(28, "No space left on device")
            return pyarrow.fs.LocalFileSystem().open_append_stream(path, compression=None)

    written = lines_in(tmp_path, Full())
    written.add("zero")
    written.lines.append("one")
    with pytest.raises(UserError, match="No space left on device"):
        written.add("two")
    written.add("three")
    assert lines_in(tmp_path).lines == ["zero", "three"]


def test_what_cannot_be_written_is_told(tmp_path: Path) -> None:
    lines = lines_in(tmp_path)
    (tmp_path / NAME).mkdir()
    with pytest.raises(UserError, match=r"progress.jsonl cannot be written \(.*\); mend it, and go on with --resume"):
        lines.add("one")
    lines.close()
