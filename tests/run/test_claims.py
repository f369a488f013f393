"""A run has one writer: whoever wrote before adds nothing, loses nothing, at whatever moment it was stopped."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet
import pytest
from bare_runs import EPOCHS, STEPS, Stopped, expected_rows, rows_of, train
from thread_ranks import on_ranks
from watched_files import watched

from ray_mentor.errors import UserError
from ray_mentor.run.checkpoint.checkpoints import newest_good
from ray_mentor.run.claim import attempted, taken_up
from ray_mentor.run.directory import RunDirectory
from ray_mentor.run.ledger.files import read_ledger


def files_of(path: Path) -> dict[str, bytes]:
    return {str(file.relative_to(path)): file.read_bytes() for file in path.rglob("*") if file.is_file()}


class AtOperation:
    """Does something once, before the n-th operation that changes a file."""

    def __init__(self, n: int, act: Callable[[], Any]) -> None:
        self.left, self.act = n, act
        self.met: tuple[str, str] | None = None

    def __call__(self, what: str, where: str) -> None:
        self.left -= 1
        if self.left == 0:
            self.met = what, where
            self.act()


def assert_whole(path: Path, name: str) -> None:
    """The run is at its end, as ``name`` left it."""
    run = RunDirectory(str(path))
    assert rows_of(read_ledger(run)) == expected_rows()
    for epoch in range(EPOCHS):
        assert rows_of(read_ledger(run, epoch)) == [row for row in expected_rows() if row[1] == epoch]
    found = newest_good(run, pytest.fail)
    assert found is not None
    assert found.state.curriculum.step == STEPS
    assert json.loads((path / "result.json").read_text()) == {"name": name}
    assert (path / "config.toml").read_text().endswith(f"# {name}\n")
    assert (path / "metrics.csv").read_text().splitlines()[1:] == [f"{epoch},{4 * (epoch + 1)}" for epoch in range(3)]


def operations(tmp_path: Path, kind: str, world: int) -> int:
    """That a whole run needs."""
    count = AtOperation(0, lambda: None)
    train(watched(str(tmp_path / "counted"), count, kind), world=world)
    return -count.left


@pytest.mark.long
@pytest.mark.parametrize("world", [pytest.param(1, marks=pytest.mark.slow), 2])
def test_a_process_that_sleeps_before_any_operation_while_another_finishes_its_run(tmp_path: Path, world: int) -> None:
    """Between its look at who the writer is and the write itself, too: it ends, and no byte has changed."""
    n = operations(tmp_path, "local", world)
    assert n > 40
    for place in range(1, n + 1):
        path = tmp_path / f"{world}-{place}"
        after: dict[str, bytes] = {}

        def other(path: Path = path, after: dict[str, bytes] = after) -> None:
            train(RunDirectory(str(path)), every=2, name="other")
            after.update(files_of(path))

        sleep = AtOperation(place, other)
        try:
            train(watched(str(path), sleep), world=world, name="sleeper")
        except UserError as error:
            assert str(error) == f"another process has taken up the run {path}; this one stops"  # noqa: PT017
        else:
            assert sleep.met is not None
            assert Path(sleep.met[1]).name.startswith((".writing", ".revoked")), f"it was at its end: {sleep.met}"
        assert_whole(path, "other")
        assert files_of(path) == after, sleep.met


@pytest.mark.long
@pytest.mark.parametrize("world", [1, 2])
def test_in_an_object_store_what_comes_late_counts_for_nothing(tmp_path: Path, world: int) -> None:
    """It can't be held back once it is on its way; only files with one name for all could be an old one's."""
    n = operations(tmp_path, "s3", world)
    shared = ("config.toml", "metrics.csv", "result.json", "attempt")
    for place in range(2, n + 1):
        path = tmp_path / f"{world}-{place}"
        sleep = AtOperation(place, lambda path=path: train(watched(str(path), kind="s3"), every=2, name="other"))
        try:
            train(watched(str(path), sleep, "s3"), world=world, name="sleeper")
        except UserError as error:
            assert str(error) == f"another process has taken up the run {path}; this one stops"  # noqa: PT017
        assert sleep.met is not None
        if not sleep.met[1].endswith(shared):
            assert_whole(path, "other")


@pytest.mark.long
@pytest.mark.parametrize("kind", ["local", "s3"])
@pytest.mark.parametrize("world", [pytest.param(1, marks=pytest.mark.slow), 2])
def test_a_process_that_dies_before_any_operation(tmp_path: Path, world: int, kind: str) -> None:
    """Nothing is lost and nothing doubled, whoever goes on, and nothing is left of what it was about."""
    n = operations(tmp_path, kind, world)

    def die() -> None:
        raise Stopped

    for place in range(1, n + 1):
        path = tmp_path / f"{world}-{place}"
        death = AtOperation(place, die)
        with pytest.raises(Stopped):
            train(watched(str(path), death, kind), world=world, name="first")
        before = rows_of(read_ledger(watched(str(path), kind=kind))) if (path / "ledger").exists() else []
        assert before == expected_rows(before[-1][2] + 1 if before else 0), "a reader sees whole steps, each row once"
        train(watched(str(path), kind=kind), every=2, world=3 - world, name="other")
        assert_whole(path, "other")
        assert_tidy(path)


def assert_tidy(path: Path) -> None:
    """Nothing is left that nobody needs; and who reads the folder of the ledger as it is, reads each row once."""
    assert rows_of(pyarrow.parquet.read_table(path / "ledger")) == expected_rows()
    (index,) = (path / "ledger").glob("_files-*.json")
    checkpoints = {tuple(file.stem.split("-")[1:]) for file in (path / "checkpoints").glob("*.pt")}
    assert len(checkpoints) <= 2
    beside = [file.stem.split("-") for file in (path / "checkpoints/ledger").iterdir()]
    assert {(parts[2], parts[-1]) for parts in beside} <= checkpoints
    others = {path / name for name in ("attempt", "config.toml", "metrics.csv", "result.json")} | {index}
    files = {file for file in path.rglob("*") if file.is_file() and file.suffix not in (".pt", ".parquet")}
    assert files == others
    assert not list(path.glob(".*"))


def test_who_claims_later_writes(tmp_path: Path) -> None:
    run = RunDirectory(str(tmp_path / "run"))
    run.create()
    one = taken_up(run)
    attempt = one.attempted()
    attempt.write("metrics.csv", b"one")
    again = one.attempted()
    again.write("metrics.csv", b"again")
    for late in (lambda: attempt.write("metrics.csv", b"x"), lambda: attempt.remove("metrics.csv"), attempt.attempted):
        with pytest.raises(UserError, match="another process has taken up the run"):
            late()
    one.write("config.toml", b"the driver is still itself")
    two = taken_up(run)
    for late in (lambda: again.write("a", b"x"), lambda: one.write("b", b"x"), one.attempted):
        with pytest.raises(UserError, match="another process has taken up the run"):
            late()
    two.attempted().write("metrics.csv", b"two")
    assert (tmp_path / "run/metrics.csv").read_bytes() == b"two"
    assert {path.name for path in (tmp_path / "run").iterdir() if path.is_file()} == {
        "attempt", "config.toml", "metrics.csv"
    }  # fmt: skip


@pytest.mark.parametrize(
    "content", [b"", b"junk", b"\xff", b"[]", b"{}", b"[" * 10**5, b'{"owner": 1, "attempts": 3}', b"x" * 10**7]
)
def test_a_claim_of_any_content(tmp_path: Path, content: bytes) -> None:
    """Is somebody else's; and whoever takes the run up goes on with it."""
    path = tmp_path / "run"
    train(RunDirectory(str(path)), steps=5)
    claimed = taken_up(RunDirectory(str(path)))
    (path / "attempt").write_bytes(content)
    with pytest.raises(UserError, match="another process has taken up the run"):
        claimed.write("result.json", b"{}")
    train(RunDirectory(str(path)), name="other")
    assert_whole(path, "other")


def test_attempts_name_no_other_folder(tmp_path: Path) -> None:
    """The claim's file may say anything: what it says is part of names."""
    run = RunDirectory(str(tmp_path / "run"))
    train(run)
    (tmp_path / "run/attempt").write_text(json.dumps({"owner": "x", "attempts": ["../../up", "0" * 17]}))
    (tmp_path / "run/ledger/_files-..").mkdir()
    (tmp_path / "run/ledger/up.json").write_text("[]")
    assert rows_of(read_ledger(run)) == expected_rows()


def test_an_attempt_of_nobody(tmp_path: Path) -> None:
    run = RunDirectory(str(tmp_path / "run"))
    run.create()
    made = on_ranks(3, lambda exchange: attempted(run, exchange))
    assert len({(each.owner, each.attempt) for each in made}) == 1
    for each in made:
        each.write(f"ledger/{id(each)}", b"x")
