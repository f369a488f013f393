"""Disks that are full or read-only, and folders that go: a clear error, and the checkpoints as they were."""

from __future__ import annotations

import ctypes
import os
import resource
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from accidents import AtStep
from small_runs import assert_same_run, names_in, trainer_for

from ray_mentor.data import Splits
from ray_mentor.errors import UserError


@contextmanager
def full(run: Path) -> Iterator[Callable[[], None]]:
    """No file can grow beyond 100 bytes: what a full disk looks like from inside."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        yield lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (100, before[1]))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@contextmanager
def vanished(run: Path) -> Iterator[Callable[[], None]]:
    elsewhere = run.with_name("elsewhere")
    try:
        yield lambda: os.rename(run, elsewhere)
    finally:
        os.rename(elsewhere, run)


@contextmanager
def read_only(run: Path) -> Iterator[Callable[[], None]]:
    folders = [run, run / "ledger", run / "checkpoints"]

    def permit(mode: int) -> None:
        for folder in folders:
            folder.chmod(mode)

    with without_privileges():
        try:
            yield lambda: permit(0o500)
        finally:
            permit(0o700)


@contextmanager
def without_privileges() -> Iterator[None]:
    """This thread may write where the folders' modes say so, even if it is root's."""
    if os.geteuid() != 0:
        yield
        return
    header, before = (ctypes.c_uint32 * 2)(VERSION_3, 0), (ctypes.c_uint32 * 6)()
    libc = ctypes.CDLL(None, use_errno=True)
    assert libc.capget(header, before) == 0
    less = (ctypes.c_uint32 * 6)(before[0] & ~DAC_OVERRIDE, *before[1:])
    assert libc.capset(header, less) == 0
    try:
        yield
    finally:
        assert libc.capset(header, before) == 0


VERSION_3, DAC_OVERRIDE = 0x20080522, 1 << 1  # <linux/capability.h>
ROOT_MAY_ALL = pytest.mark.skipif(os.geteuid() == 0 and sys.platform != "linux", reason="root may write anywhere")


class Then:
    """An accident that calls something."""

    def __init__(self, act: Callable[[], None]) -> None:
        self.meet = act


@pytest.mark.parametrize(
    ("trouble", "says"),
    [
        (full, "File too large"),
        (vanished, "No such file or directory"),
        pytest.param(read_only, "Permission denied", marks=ROOT_MAY_ALL),
    ],
)
def test_what_cannot_be_written_is_said(trouble: Any, says: str, small_splits: Splits, tmp_path: Path) -> None:
    whole = trainer_for(small_splits, tmp_path, "whole").fit()
    run = tmp_path / "run"
    with trouble(run) as begin:
        accident: Any = Then(begin)
        trainer = trainer_for(small_splits, tmp_path, "run", optimizer=AtStep(((0, 12, accident),)))
        with pytest.raises(UserError) as raised:
            trainer.fit()
    text = str(raised.value)
    assert text.startswith(f"{run}/ledger/step-{10:012d}-{15:012d}-rank-0000-")
    assert ".parquet cannot be written (" in text
    assert says in text
    assert text.endswith(f"the checkpoints in {run}/checkpoints are as they were: mend it, and go on with --resume")
    assert names_in(run / "checkpoints") == {f"step-{step:012d}.pt" for step in (5, 10)}
    closed = {f"step-{step:012d}-{step + 5:012d}-rank-0000.parquet" for step in (0, 5)}
    assert names_in(run / "ledger") == {"_files.json", *closed}
    assert_same_run(trainer_for(small_splits, tmp_path, "run", resume=True).fit(), whole)


@ROOT_MAY_ALL
def test_a_storage_path_that_may_only_be_read(small_splits: Splits, tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with without_privileges(), pytest.raises(UserError) as raised:
        trainer_for(small_splits, tmp_path, "run").fit()
    tmp_path.chmod(0o700)
    assert str(raised.value).startswith(f"the run directory {tmp_path}/run cannot be used (")
    assert "Permission denied" in str(raised.value)
    assert not list(tmp_path.iterdir())
