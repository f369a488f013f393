"""What a whole process has one of, and several runs of it, in threads, may want at the same time."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Generic, TypeVar

Value = TypeVar("Value")


class Shared(Generic[Value]):
    """Values by name that are changed for a while: who comes first notes what was there, who leaves last puts it back.

    All who hold a name at the same time are taken to want the same value of it; the newest has its way.

    Args:
        read: the value of a name.
        write: sets it.
    """

    def __init__(self, read: Callable[[str], Value], write: Callable[[str, Value], None]) -> None:
        self._read = read
        self._write = write
        self._lock = threading.Lock()
        self._holders: dict[str, int] = {}
        self._before: dict[str, Value] = {}

    @contextmanager
    def holding(self, values: Mapping[str, Value]) -> Iterator[None]:
        """These values, inside."""
        with self._lock:
            for name, value in values.items():
                self._before.setdefault(name, self._read(name))
                self._holders[name] = self._holders.get(name, 0) + 1
                self._write(name, value)
        try:
            yield
        finally:
            with self._lock:
                for name in values:
                    self._holders[name] -= 1
                    if self._holders[name] == 0:
                        del self._holders[name]
                        self._write(name, self._before.pop(name))
