"""When a worker's loop counts as hung: look by look, without a clock."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

import pytest
import torch

from ray_mentor.core.exchange import Alone
from ray_mentor.on_ray.train.pulse import _LOOKS, TIMES, HeardExchange, Pulse

LOOK = 1.0  # seconds between two looks, if somebody measured them


class Listened:
    """A pulse, and what happened to its loop at each look so far."""

    def __init__(self) -> None:
        self.hung: list[str] = []
        self.pulse = Pulse(_LOOKS * LOOK, self.hung.append)
        self.inside = ExitStack()
        self._acts: list[Callable[[], Any]] = []

    def wait(self, seconds: float) -> bool:
        """As an event's: the next look; True when there is none."""
        assert seconds == LOOK
        if not self._acts:
            return True
        self._acts.pop(0)()
        return False

    def then(self, looks: int, act: Callable[[], Any] = lambda: None) -> Listened:
        """So many looks, with something that happens before the first of them."""
        self._acts += [act, *[lambda: None] * (looks - 1)]
        return self

    def hangs_after(self, most: int) -> int | None:
        """How many looks later it hangs; None: not within so many."""
        self.then(most)
        done: Any = self
        self.pulse._listen(done)
        return most - len(self._acts) if self.hung else None

    def enter(self, what: Callable[[], Any]) -> Callable[[], Any]:
        return lambda: self.inside.enter_context(what())


def test_a_loop_that_is_silent_for_so_long_hangs() -> None:
    a = Listened()
    assert a.then(1, a.pulse.beat).hangs_after(100) == _LOOKS
    assert a.hung[0].startswith(f"nothing for {_LOOKS} s, in ")


def test_a_loop_that_beats_does_not_hang() -> None:
    a = Listened()
    for _ in range(50):
        a.then(_LOOKS, a.pulse.beat)
    assert a.hangs_after(_LOOKS - 1) is None


@pytest.mark.parametrize("slow", [False, True], ids=["before the first beat", "in what is slow"])
def test_what_takes_longer_by_nature_has_longer(slow: bool) -> None:
    a = Listened()
    if slow:
        a.then(1, a.pulse.beat).then(1, a.enter(a.pulse.slow))
    assert a.hangs_after(1000) == TIMES * _LOOKS - slow


def test_a_step_after_something_slow_has_no_longer_than_others() -> None:
    a = Listened()
    a.then(1, a.pulse.beat).then(3 * _LOOKS, a.enter(a.pulse.slow)).then(1, a.inside.close)
    assert a.hangs_after(1000) == _LOOKS


def test_waiting_for_others_is_not_hanging() -> None:
    a = Listened()
    a.then(1, a.pulse.beat).then(100 * _LOOKS, a.enter(a.pulse.away)).then(1, a.inside.close)
    assert a.hangs_after(1000) == _LOOKS


def test_a_loop_whose_steps_always_take_long_does_not_hang() -> None:
    """After a step of half the time, one may take ten times as long as that."""
    a = Listened()
    a.then(1, a.pulse.beat).then(_LOOKS // 2, a.pulse.beat).then(1, a.pulse.beat)
    assert a.hangs_after(1000) == TIMES * (_LOOKS // 2 - 1)


def test_the_line_that_it_hangs_in_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    """From a thread of its own, by the clock."""
    goes_on = threading.Event()
    hung: list[str] = []

    def tell(text: str) -> None:
        hung.append(text)
        goes_on.set()

    def a_lock_that_nobody_opens() -> None:
        assert goes_on.wait(60)

    pulse = Pulse(0.2, tell)
    with pulse.heard():
        pulse.beat()
        a_lock_that_nobody_opens()
    assert len(hung) == 1
    assert "wait (" in hung[0]
    assert "a_lock_that_nobody_opens" in capsys.readouterr().err


def test_nobody_listens_afterwards() -> None:
    hung: list[str] = []
    pulse = Pulse(0.05, hung.append)
    with pulse.heard():
        for _ in range(3):
            pulse.beat()
    time.sleep(0.2)
    assert hung == []
    assert not [thread for thread in threading.enumerate() if thread.name == "pulse"]


class Waits(Alone):
    """Notes whether the pulse knows that its rank waits."""

    def __init__(self) -> None:
        self.pulse: Any = None
        self.known: list[bool] = []

    def _note(self) -> None:
        self.known.append(self.pulse._away > 0)

    def sizes(self, own: int) -> tuple[int, ...]:
        self._note()
        return super().sizes(own)

    def gather(self, rows: Any, sizes: Any) -> Any:
        self._note()
        return super().gather(rows, sizes)

    def broadcast(self, value: Any) -> Any:
        self._note()
        return super().broadcast(value)

    def broadcast_floats(self, values: Any) -> Any:
        self._note()
        return super().broadcast_floats(values)

    def wait_for_all(self) -> None:
        self._note()


def test_an_exchange_is_waiting() -> None:
    inner = Waits()
    inner.pulse = pulse = Pulse(1.0, lambda text: None)
    exchange = HeardExchange(inner, pulse)
    one = torch.ones(2, 1)
    assert exchange.sizes(2) == (2,)
    assert torch.equal(exchange.gather(one, (2,)), one)
    assert torch.equal(exchange.gather_any(one), one)
    assert exchange.total(2.0) == 2.0
    assert exchange.broadcast("a") == "a"
    assert torch.equal(exchange.broadcast_floats(one[:, 0]), one[:, 0])
    exchange.wait_for_all()
    assert exchange.sum_of([one]) == [one]
    assert inner.known == [True] * 8
    assert pulse._away == 0
