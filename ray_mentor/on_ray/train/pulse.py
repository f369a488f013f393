"""The pulse of a worker's loop: when a step hangs, its process is ended, and Ray starts all workers again."""

from __future__ import annotations

import sys
import threading
import traceback
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

from jaxtyping import Float, Num
from torch import Tensor
from typing_extensions import override

from ray_mentor.core.exchange import AbstractExchange

TIMES = 10  # as long as others, that what takes longer by nature may take
_LOOKS = 20  # in the time after which a step hangs


class Pulse:
    """Hears the loop of the thread that made it, and tells when a step hangs.

    Counted is what the thread does by itself, not while it waits for others (:meth:`away`), who may be waiting for
    something in turn. It hangs when it has been silent for ``seconds``: ``TIMES`` as many before its first beat (a
    compiler may be at work) and in what is :meth:`slow`; and not before ``TIMES`` the longest silence of a step so far.

    Args:
        hung: called, from another thread, with what it hangs in.
    """

    def __init__(self, seconds: float, hung: Callable[[str], None]) -> None:
        self._seconds = seconds
        self._hung = hung
        self._thread = threading.get_ident()
        self._moves = self._away = self._slow = 0
        self._has_beaten = False
        self._waiting = _Waiting(self)

    def beat(self) -> None:
        """A step is done, or a part of something long."""
        self._moves += 1
        self._has_beaten = True

    def away(self) -> AbstractContextManager[None]:
        """What is waited for inside is another's to do."""
        return self._waiting

    @contextmanager
    def slow(self) -> Iterator[None]:
        """What is done inside takes longer than a step."""
        self._slow += 1
        try:
            yield
        finally:
            self._moves += 1
            self._slow -= 1

    @contextmanager
    def heard(self) -> Iterator[None]:
        """Inside, somebody listens."""
        done = threading.Event()
        listener = threading.Thread(target=self._listen, args=(done,), name="pulse", daemon=True)
        listener.start()
        try:
            yield
        finally:
            done.set()
            listener.join()

    def _listen(self, done: threading.Event) -> None:
        """Counts its own looks, not seconds: those that a stopped process, or machine, misses are no silence."""
        every = self._seconds / _LOOKS
        moves, silent, longest, slow = self._moves, 0.0, 0.0, True
        while not done.wait(every):
            if self._moves != moves or self._away:
                longest = longest if slow else max(longest, silent)
                moves, silent = self._moves, 0.0
            else:
                silent += every
            slow = self._slow > 0 or not self._has_beaten
            if silent >= max(self._seconds * (TIMES if slow else 1), TIMES * longest):
                self._hung(f"nothing for {silent:.0f} s, in {self._where()}")
                return

    def _where(self) -> str:
        """The line that the thread is in; how it got there goes into the process's log."""
        frame = sys._current_frames().get(self._thread)
        if frame is None:
            return "a thread that is gone"
        traceback.print_stack(frame)
        code = frame.f_code
        return f"{code.co_name} ({code.co_filename}, line {frame.f_lineno})"


class _Waiting(AbstractContextManager[None]):
    """A context without a generator: a step enters it some ten times."""

    def __init__(self, pulse: Pulse) -> None:
        self._pulse = pulse

    def __enter__(self) -> None:
        self._pulse._away += 1

    def __exit__(self, *_: object) -> None:
        self._pulse._moves += 1
        self._pulse._away -= 1


class HeardExchange(AbstractExchange):
    """An exchange whose waiting is not the rank's own doing."""

    def __init__(self, exchange: AbstractExchange, pulse: Pulse) -> None:
        self.rank = exchange.rank
        self.world_size = exchange.world_size
        self._exchange = exchange
        self._pulse = pulse

    @override
    def sizes(self, own: int) -> tuple[int, ...]:
        with self._pulse.away():
            return self._exchange.sizes(own)

    @override
    def gather(self, rows: Num[Tensor, "own columns"], sizes: tuple[int, ...]) -> Num[Tensor, "all columns"]:
        with self._pulse.away():
            return self._exchange.gather(rows, sizes)

    @override
    def sum_of(self, tensors: list[Tensor]) -> list[Tensor]:
        """Of the device's own group, which a step may hang in: counted."""
        return self._exchange.sum_of(tensors)

    @override
    def wait_for_all(self) -> None:
        with self._pulse.away():
            self._exchange.wait_for_all()

    @override
    def broadcast(self, value: Any) -> Any:
        with self._pulse.away():
            return self._exchange.broadcast(value)

    @override
    def broadcast_floats(self, values: Float[Tensor, " n"]) -> Float[Tensor, " n"]:
        with self._pulse.away():
            return self._exchange.broadcast_floats(values)
