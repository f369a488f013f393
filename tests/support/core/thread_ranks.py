"""Ranks that are threads of this process: all that a test needs where gloo is not what it is about."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

import torch
from torch import Tensor

from ray_mentor.core.exchange import AbstractExchange

T = TypeVar("T")


class Meeting:
    """Where the threads give each other values."""

    def __init__(self, size: int) -> None:
        self._barrier = threading.Barrier(size, timeout=60)
        self._values: list[Any] = [None] * size

    def swap(self, rank: int, value: Any) -> list[Any]:
        self._values[rank] = value
        self._barrier.wait()
        found = list(self._values)
        self._barrier.wait()
        return found

    def end(self) -> None:
        self._barrier.abort()


class ThreadRank(AbstractExchange):
    """One thread's end of it."""

    def __init__(self, meeting: Meeting, rank: int, world_size: int) -> None:
        self._meeting, self.rank, self.world_size = meeting, rank, world_size

    def sizes(self, own: int) -> tuple[int, ...]:
        return tuple(self._meeting.swap(self.rank, own))

    def gather(self, rows: Tensor, sizes: tuple[int, ...]) -> Tensor:
        found = self._meeting.swap(self.rank, rows.clone())
        assert tuple(map(len, found)) == sizes
        return torch.cat(found)

    def sum_of(self, tensors: list[Tensor]) -> list[Tensor]:
        found = self._meeting.swap(self.rank, [tensor.clone() for tensor in tensors])
        return [torch.stack(parts).sum(dim=0) for parts in zip(*found, strict=True)]

    def wait_for_all(self) -> None:
        self._meeting.swap(self.rank, None)

    def broadcast(self, value: Any) -> Any:
        return self._meeting.swap(self.rank, value)[0]

    def broadcast_floats(self, values: Tensor) -> Tensor:
        found: Tensor = self._meeting.swap(self.rank, values)[0].clone()
        return found


def on_ranks(world_size: int, main: Callable[[AbstractExchange], T]) -> list[T]:
    """What ``main`` returns on each rank; the first error of a rank that failed by itself is raised."""
    meeting = Meeting(world_size)

    def one(rank: int) -> T:
        try:
            return main(ThreadRank(meeting, rank, world_size))
        except BaseException:
            meeting.end()
            raise

    with ThreadPoolExecutor(world_size) as pool:
        futures = [pool.submit(one, rank) for rank in range(world_size)]
    errors = [error for error in (future.exception() for future in futures) if error is not None]
    for error in sorted(errors, key=lambda error: isinstance(error, threading.BrokenBarrierError)):
        raise error
    return [future.result() for future in futures]
