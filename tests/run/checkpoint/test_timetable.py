"""When a checkpoint is due that somebody wishes for, though none is by the clock or by the steps."""

from __future__ import annotations

import itertools
import threading
import time
from types import SimpleNamespace

import pytest
from thread_ranks import on_ranks

from ray_mentor.core.exchange import AbstractExchange, Alone
from ray_mentor.run.checkpoint import timetable
from ray_mentor.run.checkpoint.timetable import AHEAD, Timetable

LAST = 10_000


def looks_until_due(exchange: AbstractExchange, wishes: list[bool]) -> tuple[bool, int]:
    """Whether one is due after the look at which this rank says what it wishes; and how often it was asked."""
    asked = 0

    def wished() -> bool:
        nonlocal asked
        asked += 1
        return wishes[asked - 1]

    table = Timetable(3600.0, 0, 0, LAST, exchange, wished)
    step = 0
    while asked < len(wishes):
        time.sleep(0.02)
        step += 1
        if table.due(step, ready=True):
            return True, asked
    return False, asked


def test_a_wish_is_due_at_the_next_look() -> None:
    assert looks_until_due(Alone(), [False, True]) == (True, 2)


def test_without_a_wish_none_is_due() -> None:
    assert looks_until_due(Alone(), [False, False]) == (False, 2)


def test_any_rank_may_wish() -> None:
    found = on_ranks(2, lambda exchange: looks_until_due(exchange, [exchange.rank == 1, False]))
    assert found == [(True, 1)] * 2


def test_a_wish_waits_until_a_checkpoint_can_hold_everything() -> None:
    table = Timetable(3600.0, 0, 0, LAST, Alone(), lambda: True)
    assert not table.due(1, ready=False)
    assert table.due(2, ready=True)


@pytest.mark.long
def test_nobody_is_asked_more_often_than_about_once_a_second() -> None:
    asked: list[float] = []
    table = Timetable(3600.0, 0, 0, LAST, Alone(), lambda: bool(asked.append(time.monotonic())))
    began = time.monotonic()
    for step in range(1, LAST):
        table.due(step, ready=True)
        time.sleep(0.001)
        if time.monotonic() - began > 2.5:
            break
    assert len(asked) <= 12, "twice at the start, to know how fast steps are, and then once a second"


def test_an_epochs_end_is_looked_at_however_fast_the_steps_were(monkeypatch: pytest.MonkeyPatch) -> None:
    """Steps of 2 ms, 40 an epoch, and 10 s to measure the test split: the look ahead by a second is 20 minutes long."""
    now = 0.0
    monkeypatch.setattr(timetable, "time", SimpleNamespace(monotonic=lambda: now))
    table = Timetable(60.0, 0, 0, 10**9, Alone())
    came = [0.0]
    for step in range(1, 40 * 100 + 1):
        ends_epoch = step % 40 == 0
        now += 0.002 + 10.0 * ends_epoch
        if table.due(step, ready=True, ends_epoch=ends_epoch):
            came.append(now)
    assert len(came) > 10
    assert max(later - earlier for earlier, later in itertools.pairwise(came)) < 71.0


@pytest.mark.parametrize(("ranks", "slow_steps"), [(1, 2), (2, AHEAD)])
def test_steps_that_become_slow_in_the_middle_of_an_epoch(
    monkeypatch: pytest.MonkeyPatch, ranks: int, slow_steps: int
) -> None:
    """Steps of 2 ms, and then of 30 s, as when a disk is slow: the look ahead by a second is 500 steps long."""
    here = threading.local()
    monkeypatch.setattr(timetable, "time", SimpleNamespace(monotonic=lambda: here.now))

    def slow_steps_until_due(exchange: AbstractExchange) -> int:
        here.now = 0.0
        table = Timetable(60.0, 0, 0, 10**9, exchange)
        for step in range(1, 2000):
            here.now += 0.002
            assert not table.due(step, ready=True)
        for step in range(2000, 4000):
            here.now += 30.0
            if table.due(step, ready=True):
                return step - 1999
        return 2000

    assert max(on_ranks(ranks, slow_steps_until_due)) <= slow_steps


def test_a_wish_is_heard_at_an_epochs_end() -> None:
    wishes: list[bool] = []
    table = Timetable(3600.0, 0, 0, LAST, Alone(), lambda: bool(wishes))
    for step in range(1, 100):
        table.due(step, ready=True)
    wishes.append(True)
    assert table.due(100, ready=True, ends_epoch=True)
