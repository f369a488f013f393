"""What a run directory makes of where it is told to be."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pyarrow.fs
import pytest
from fsspec.implementations.memory import MemoryFileSystem
from unreadable import unreadable

from ray_mentor.errors import UserError
from ray_mentor.run.claim import Claim
from ray_mentor.run.directory import RunDirectory


def of_protocol(named: str | tuple[str, ...]) -> Any:
    kind: Any = type("Named", (MemoryFileSystem,), {"protocol": named, "cachable": False})
    return pyarrow.fs.PyFileSystem(pyarrow.fs.FSSpecHandler(kind()))


@pytest.mark.parametrize("named", ["s3", ("s3", "s3a"), ("gs", "gcs"), ["abfs", "az"], ("my-cache", "s3")])
def test_an_object_store_through_fsspec(named: Any) -> None:
    assert RunDirectory("bucket/run", of_protocol(named)).is_in_object_store


@pytest.mark.parametrize("named", ["memory", ("sftp", "ssh"), ("file", "local"), ("mys3", "s3x")])
def test_other_file_systems_through_fsspec(named: Any) -> None:
    assert not RunDirectory("folder/run", of_protocol(named)).is_in_object_store


def test_a_part_of_a_file_system_is_what_the_whole_is(tmp_path: Path) -> None:
    bucket = pyarrow.fs.S3FileSystem(anonymous=True, region="us-east-1")
    part = pyarrow.fs.SubTreeFileSystem("bucket", pyarrow.fs.SubTreeFileSystem("folder", bucket))
    assert RunDirectory("run", part).is_in_object_store
    here = pyarrow.fs.SubTreeFileSystem(str(tmp_path), pyarrow.fs.LocalFileSystem())
    assert not RunDirectory("run", here).is_in_object_store


@pytest.mark.parametrize("name", ["a#1", "b?x=1", "c%41"])
def test_a_name_that_a_uri_would_take_for_something_else(tmp_path: Path, name: str) -> None:
    """a#1 and a#2 would be one folder."""
    with pytest.raises(UserError) as raised:
        RunDirectory.within(f"file://{tmp_path}", name)
    assert str(raised.value) == (
        f"run_name is {name!r}, but storage_path is a URI, in which #, ? and % mean something else; give a name without"
    )
    directory = RunDirectory.within(str(tmp_path), name)
    directory.create(("",))
    directory.write("x", b"1")
    assert (tmp_path / name / "x").read_bytes() == b"1"


def test_a_name_in_a_uri(tmp_path: Path) -> None:
    directory = RunDirectory.within(f"file://{tmp_path}", "plain+~2")
    directory.create(("",))
    directory.write("x", b"1")
    assert (tmp_path / "plain+~2" / "x").read_bytes() == b"1"


def test_what_may_not_be_read_is_said(tmp_path: Path) -> None:
    (tmp_path / "attempt").write_bytes(b"{}")
    (tmp_path / "checkpoints").mkdir()
    directory = RunDirectory(str(tmp_path), unreadable("attempt"))
    for look in (lambda: directory.read("attempt"), lambda: Claim.on(directory)):
        with pytest.raises(UserError) as raised:
            look()
        assert str(raised.value) == (
            f"{tmp_path}/attempt cannot be read ([Errno 13] Permission denied: 'attempt'); see to it that this user "
            "may read what is in there"
        )
    with pytest.raises(UserError, match=r"/attempt cannot be read \(.*Permission denied"):
        RunDirectory(str(tmp_path / "closed"), unreadable()).read("attempt")
    with pytest.raises(UserError, match=r"/checkpoints cannot be read \(.*irectory"):
        RunDirectory(str(tmp_path)).read("checkpoints")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="has no pipes")
def test_what_is_no_file_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "attempt")
    with pytest.raises(UserError, match=r"/attempt cannot be read: it is not a file; remove it"):
        RunDirectory(str(tmp_path)).read("attempt")


def test_two_that_write_a_file_at_a_time(tmp_path: Path) -> None:
    """As two audits of a run that has ended: the last one's file is there, whole, and neither fails."""
    directory = RunDirectory(str(tmp_path))

    def slowly(sink: Any) -> None:
        sink.write(b"first, ")
        directory.write("audit.csv", b"second")
        sink.write(b"and all of it")

    directory.fill("audit.csv", slowly)
    assert (tmp_path / "audit.csv").read_bytes() == b"first, and all of it"
    assert os.listdir(tmp_path) == ["audit.csv"]


def test_an_epoch_may_say_more_than_the_first(tmp_path: Path) -> None:
    directory = RunDirectory(str(tmp_path / "run"))
    directory.create()
    directory.write_metrics([{"epoch": 0, "loss": 2.0}, {"epoch": 1, "loss": 1.0, "d_momentum": -0.5}])
    assert (tmp_path / "run/metrics.csv").read_text().splitlines() == [
        '"epoch","loss","d_momentum"', "0,2,", "1,1,-0.5",
    ]  # fmt: skip
