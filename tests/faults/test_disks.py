"""Disks that are full or read-only, and folders that go: a clear error, and the checkpoints as they were."""

from __future__ import annotations

import os
import resource
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from accidents import AtStep
from small_runs import assert_same_run, trainer_for

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

    try:
        yield lambda: permit(0o500)
    finally:
        permit(0o700)


class Then:
    """An accident that calls something."""

    def __init__(self, act: Callable[[], None]) -> None:
        self.meet = act


NOT_ROOT = pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")


@pytest.mark.parametrize(
    ("trouble", "says"),
    [
        (full, "File too large"),
        (vanished, "No such file or directory"),
        pytest.param(
            read_only,
            "Permission denied",
            marks=pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere"),
        ),
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
    assert text.startswith(f"{run}/ledger/step-000000010-rank-0000.parquet cannot be written (")
    assert says in text
    assert text.endswith(f"the checkpoints in {run}/checkpoints are as they were: mend it, and go on with --resume")
    names = {file.name for folder in ("checkpoints", "ledger") for file in (run / folder).iterdir()}
    assert names == {
        *(f"step-{step:012d}.pt" for step in (5, 10)),
        *(f"step-{step:09d}-rank-0000.parquet" for step in (0, 5)),
    }
    assert_same_run(trainer_for(small_splits, tmp_path, "run", resume=True).fit(), whole)
