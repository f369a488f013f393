"""Processes that take a run up at the same time, each stopped before any of its operations while others go on."""

from __future__ import annotations

import itertools
import random
import shutil
import threading
import uuid
from collections.abc import Callable, Iterable
from pathlib import Path

import pyarrow.fs
import pytest
from watched_files import WatchedFiles

from ray_mentor.errors import UserError
from ray_mentor.run.claim import Claim, ClaimedDirectory, taken_up
from ray_mentor.run.directory import CLAIM, METRICS, RunDirectory

Life = Callable[[RunDirectory], None]
Moves = list[tuple[str, str, Claim]]
"""Which process moved which file to its name, in order, and what the claim was then."""


class Files(WatchedFiles):
    def __init__(self, before: Callable[[str, str], None], moved: Callable[[str], None]) -> None:
        super().__init__(before, looks=before)
        self._moved = moved

    def move(self, src: str, dest: str) -> None:
        super().move(src, dest)
        self._moved(Path(dest).name)


class Process:
    """A life that goes on by as many operations as it is let.

    Attributes:
        error: what it ended with; None: it has written all that it wanted, or has not ended.
        ended: whether it has.
        operations: how many it was let do.
    """

    def __init__(self, name: str, path: Path, life: Life, moves: Moves) -> None:
        self.error: UserError | None = None
        self.ended = False
        self.operations = 0
        self._may, self._waits = threading.Semaphore(0), threading.Semaphore(0)
        files = Files(self._before, lambda file: moves.append((name, file, Claim.on(RunDirectory(str(path))))))
        self._life = lambda: life(RunDirectory(str(path), pyarrow.fs.PyFileSystem(files)))
        self._thread = threading.Thread(target=self._live, daemon=True)
        self._thread.start()
        self._waits.acquire()

    def go_on(self, operations: int | None = None) -> None:
        """By so many, or to its end."""
        for _ in itertools.count() if operations is None else range(operations):
            if self.ended:
                return
            self.operations += 1
            self._may.release()
            self._waits.acquire()

    def _live(self) -> None:
        self._pause()
        try:
            self._life()
        except UserError as error:
            self.error = error
        finally:
            self.ended = True
            self._waits.release()

    def _before(self, what: str, where: str) -> None:
        self._pause()

    def _pause(self) -> None:
        self._waits.release()
        self._may.acquire()


def write_twice(attempt: ClaimedDirectory) -> None:
    for _ in range(2):
        attempt.write(METRICS, b"")


def driver(directory: RunDirectory) -> None:
    """A driver and its first workers."""
    write_twice(taken_up(directory).attempted())


def lone_driver(directory: RunDirectory) -> None:
    """As a sweep's is."""
    write_twice(taken_up(directory))


def workers_of(owner: str) -> Life:
    """A group of workers, that Ray starts for a driver that has the run."""
    return lambda directory: write_twice(ClaimedDirectory(directory, owner).attempted())


def ids_go(patch: pytest.MonkeyPatch, *, up: bool) -> None:
    """Of those of the same generation, the one that was drawn first is the lowest, or the highest."""
    draws = itertools.count(2**39, 1 if up else -1)
    patch.setattr(uuid, "uuid4", lambda: uuid.UUID(int=next(draws) << 88))


def lives_in(path: Path, contest: str) -> list[Life]:
    """Two of a contest for the run in this folder, which is made anew: who begins, and who comes then."""
    shutil.rmtree(path, ignore_errors=True)
    run = RunDirectory(str(path))
    run.create()
    if contest == "two drivers":
        return [driver, driver]
    if contest == "two lone drivers":
        return [lone_driver, lone_driver]
    workers = workers_of(taken_up(run).owner)
    if contest == "two groups of workers":
        return [workers, workers]
    return [workers, driver] if contest == "workers and another driver" else [lone_driver, workers]


CONTESTS = [
    "two drivers",
    "two lone drivers",
    "two groups of workers",
    "workers and another driver",
    "a lone driver and another's workers",
]


def assert_fenced(processes: Iterable[Process], moves: Moves, schedule: object) -> None:
    assert any(process.error is None for process in processes), f"nobody has the run: {schedule}"
    has_it = ""
    claims = [(claim.owner, claim.attempts[:1]) for _, file, claim in moves if file == CLAIM]
    assert claims == sorted(claims), f"one that was revoked has claimed: {schedule}"
    for name, file, _ in moves:
        if file == CLAIM:
            has_it = name
        assert file != METRICS or name == has_it, f"{name} wrote after another's claim: {schedule}, {moves}"
    for process in processes:
        assert process.error is None or "another process has taken up the run" in str(process.error)


def length(path: Path, contest: str, which: int) -> int:
    """Operations of one of them, alone."""
    process = Process("alone", path, lives_in(path, contest)[which], [])
    process.go_on()
    assert process.error is None
    return process.operations


@pytest.mark.long
@pytest.mark.parametrize(
    "contest", CONTESTS[:4]
)  # workers are not later than the driver that takes the run from theirs
@pytest.mark.parametrize("up", [True, False])
def test_one_is_stopped_before_any_operation_while_another_lives(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, contest: str, up: bool
) -> None:
    """It takes the run up and writes; when the one that slept has ended it writes again, whatever that one did."""
    path = tmp_path / "run"
    for asleep in range(4, length(path, contest, 0) + 1):  # until it has looked it is one that starts later
        ids_go(monkeypatch, up=up)
        sleeper_life, life = lives_in(path, contest)
        moves: Moves = []
        sleeper, living = Process("sleeper", path, sleeper_life, moves), Process("living", path, life, moves)
        sleeper.go_on(asleep)
        while ("living", METRICS) not in [move[:2] for move in moves]:
            living.go_on(1)
            assert not living.ended, f"{asleep}: {living.error}"
        sleeper.go_on()
        living.go_on()
        assert living.error is None, f"the one that slept before operation {asleep} has ended it"
        assert_fenced([sleeper, living], moves, asleep)


@pytest.mark.parametrize("contest", [pytest.param(contest, marks=pytest.mark.slow) for contest in CONTESTS])
def test_any_schedule_of_two_that_changes_a_few_times(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, contest: str
) -> None:
    path = tmp_path / "run"
    first, second = (length(path, contest, which) for which in (0, 1))
    anywhere = [(i, j, None) for i in range(first) for j in range(1 + i % 3, second, 3)]
    looked = [(i, j, k) for i in _LOOKED for j in range(5, 15) for k in range(4, 10, 2)]
    for schedule in [*anywhere, *looked]:
        moves: Moves = []
        ids_go(monkeypatch, up=schedule[2] is not None or sum(schedule[:2]) % 2 == 0)
        processes = [Process(name, path, life, moves) for name, life in zip("ab", lives_in(path, contest), strict=True)]
        for process, operations in zip((*processes, *processes, processes[0]), (*schedule, None, None), strict=True):
            process.go_on(operations)
        assert_fenced(processes, moves, schedule)


_LOOKED = (3, 4)  # a driver or workers have chosen their id and are about to make their folder


@pytest.mark.long
def test_some_schedules_of_three(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Drawn at random: short turns and long ones."""
    draw = random.Random(0)
    path = tmp_path / "run"
    for case in range(300):
        ids_go(monkeypatch, up=case % 10 < 5)
        lives = [*lives_in(path, CONTESTS[case % 5]), driver]
        moves: Moves = []
        processes = [Process(name, path, life, moves) for name, life in zip("abc", lives, strict=True)]
        turns = []
        while alive := [process for process in processes if not process.ended]:
            process, operations = draw.choice(alive), draw.choice((1, 2, 4, 8, 16))
            turns.append((processes.index(process), operations))
            process.go_on(operations)
        assert_fenced(processes, moves, turns)
