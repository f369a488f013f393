"""SIGTERM waits for a checkpoint, once and not for ever."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator

import pytest

from ray_mentor.on_ray.train.sigterm import SavesFirst


@pytest.fixture
def ended() -> Iterator[list[int]]:
    """What SIGTERM does otherwise: here it counts."""
    calls: list[int] = []
    before = signal.signal(signal.SIGTERM, lambda number, frame: calls.append(number))
    yield calls
    signal.signal(signal.SIGTERM, before)


def term() -> None:
    os.kill(os.getpid(), signal.SIGTERM)


def test_sigterm_waits_until_it_may_go_on(ended: list[int]) -> None:
    waits = SavesFirst()
    with waits.installed():
        assert not waits.came
        term()
        assert waits.came
        assert ended == []
        waits.go_on()
        assert ended == [signal.SIGTERM]
        assert not waits.came
        waits.go_on()
        assert len(ended) == 1, "nothing waits any longer"
    term()
    assert len(ended) == 2


def test_a_second_one_does_not_wait(ended: list[int]) -> None:
    with SavesFirst().installed():
        term()
        term()
        assert len(ended) == 1


def test_it_does_not_wait_for_ever(ended: list[int]) -> None:
    with SavesFirst(seconds=0.1).installed():
        term()
        deadline = time.monotonic() + 60
        while not ended and time.monotonic() < deadline:
            time.sleep(0.01)
    assert len(ended) == 1


def test_one_that_came_as_the_run_ended_is_not_forgotten(ended: list[int]) -> None:
    with SavesFirst().installed():
        term()
    assert len(ended) == 1


def test_whoever_can_save_is_asked(ended: list[int]) -> None:
    asked: list[bool] = []
    with SavesFirst(lambda: asked.append(True)).installed():
        assert asked == []
        term()
        assert asked == [True]


def test_what_is_ignored_stays_so() -> None:
    before = signal.signal(signal.SIGTERM, signal.SIG_IGN)
    try:
        with SavesFirst().installed():
            assert signal.getsignal(signal.SIGTERM) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGTERM, before)


def test_in_another_thread_all_stays_as_it_is(ended: list[int]) -> None:
    here = signal.getsignal(signal.SIGTERM)
    found: list[object] = []

    def look() -> None:
        with SavesFirst().installed():
            found.append(signal.getsignal(signal.SIGTERM))

    thread = threading.Thread(target=look)
    thread.start()
    thread.join()
    assert found == [here]
