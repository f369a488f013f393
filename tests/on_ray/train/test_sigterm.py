"""SIGTERM and Ctrl-C wait for a checkpoint, once and not for ever."""

from __future__ import annotations

import functools
import os
import signal
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from ray_mentor.on_ray.train import sigterm
from ray_mentor.on_ray.train.sigterm import SavesFirst, workers_save_first


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
    with waits.installed(signal.SIGTERM):
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
    with SavesFirst().installed(signal.SIGTERM):
        term()
        term()
        assert len(ended) == 1


def test_it_does_not_wait_for_ever(ended: list[int]) -> None:
    with SavesFirst(seconds=0.1).installed(signal.SIGTERM):
        term()
        deadline = time.monotonic() + 60
        while not ended and time.monotonic() < deadline:
            time.sleep(0.01)
    assert len(ended) == 1


def test_one_that_came_as_the_run_ended_is_not_forgotten(ended: list[int]) -> None:
    with SavesFirst().installed(signal.SIGTERM):
        term()
    assert len(ended) == 1


def test_whoever_can_save_is_asked(ended: list[int]) -> None:
    asked: list[bool] = []
    with SavesFirst(lambda: asked.append(True)).installed(signal.SIGTERM):
        assert asked == []
        term()
        assert asked == [True]


class Hung:
    """A board whose workers never write the checkpoint that they are asked for."""

    class Asked:
        def remote(self) -> bool:
            return True

    wish = is_wished = Asked()


def test_a_driver_whose_workers_hang_goes_on_where_the_users_handler_does(
    ended: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sigterm.ray, "get", lambda answer: answer)
    monkeypatch.setattr(sigterm, "SavesFirst", functools.partial(SavesFirst, seconds=0.2))
    board: Any = Hung()
    with workers_save_first(board):
        term()
        assert ended == [signal.SIGTERM]


def test_what_is_ignored_stays_so() -> None:
    before = signal.signal(signal.SIGTERM, signal.SIG_IGN)
    try:
        with SavesFirst().installed(signal.SIGTERM):
            assert signal.getsignal(signal.SIGTERM) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGTERM, before)


def test_in_another_thread_all_stays_as_it_is(ended: list[int]) -> None:
    here = signal.getsignal(signal.SIGTERM)
    found: list[object] = []

    def look() -> None:
        with SavesFirst().installed(signal.SIGTERM):
            found.append(signal.getsignal(signal.SIGTERM))

    thread = threading.Thread(target=look)
    thread.start()
    thread.join()
    assert found == [here]


def test_ctrl_c_waits_as_well_and_says_so(capfd: pytest.CaptureFixture[str]) -> None:
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with SavesFirst().installed(signal.SIGTERM, signal.SIGINT) as waits:
            os.kill(os.getpid(), signal.SIGINT)
            assert waits.came
            with pytest.raises(KeyboardInterrupt):
                waits.go_on()
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    finally:
        signal.signal(signal.SIGINT, before)
    assert capfd.readouterr().err == "\nstopping as soon as a checkpoint is written; Ctrl-C again: at once\n"


def test_a_second_ctrl_c_stops_at_once(capfd: pytest.CaptureFixture[str]) -> None:
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with SavesFirst().installed(signal.SIGINT) as waits:
            os.kill(os.getpid(), signal.SIGINT)
            with pytest.raises(KeyboardInterrupt):
                os.kill(os.getpid(), signal.SIGINT)
            waits.came = False
    finally:
        signal.signal(signal.SIGINT, before)
