"""What ranks tell each other: a few floats per sample, once a step."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

import torch
import torch.distributed as dist
from jaxtyping import Float
from torch import Tensor


class AbstractExchange(ABC):
    """Collectives over the student workers of a run; every rank calls the same ones in the same order."""

    rank: int
    world_size: int

    @abstractmethod
    def gather(self, rows: Float[Tensor, "own columns"]) -> tuple[Float[Tensor, "all columns"], tuple[int, ...]]:
        """Every rank's rows, in rank order, and how many each rank gave. Ranks may give different numbers."""

    @abstractmethod
    def broadcast(self, value: Any) -> Any:
        """Rank 0's value (a picklable object), on every rank."""

    @abstractmethod
    def broadcast_floats(self, values: Float[Tensor, " n"]) -> Float[Tensor, " n"]:
        """Rank 0's values, on every rank; the others give a tensor of the same length and type."""


class Alone(AbstractExchange):
    """One process."""

    rank = 0
    world_size = 1

    def gather(self, rows: Float[Tensor, "own columns"]) -> tuple[Float[Tensor, "all columns"], tuple[int, ...]]:
        return rows, (len(rows),)

    def broadcast(self, value: Any) -> Any:
        return value

    def broadcast_floats(self, values: Float[Tensor, " n"]) -> Float[Tensor, " n"]:
        return values


class Ranks(AbstractExchange):
    """The ranks of a process group, over a gloo group of its own: what is exchanged lives on the CPU."""

    def __init__(self) -> None:
        self.rank = dist.get_rank()
        self.world_size = dist.get_world_size()
        self._group = dist.new_group(backend="gloo")

    def gather(self, rows: Float[Tensor, "own columns"]) -> tuple[Float[Tensor, "all columns"], tuple[int, ...]]:
        sizes = self._sizes(len(rows))
        longest = max(sizes)
        padded = torch.cat([rows, rows.new_zeros((longest - len(rows), rows.shape[1]))]).contiguous()
        parts = [torch.empty_like(padded) for _ in sizes]
        dist.all_gather(parts, padded, group=self._group)
        return torch.cat([part[:size] for part, size in zip(parts, sizes, strict=True)]), sizes

    def broadcast(self, value: Any) -> Any:
        holder = [value]
        dist.broadcast_object_list(holder, src=0, group=self._group)
        return holder[0]

    def broadcast_floats(self, values: Float[Tensor, " n"]) -> Float[Tensor, " n"]:
        dist.broadcast(values, src=0, group=self._group)
        return values

    def _sizes(self, own: int) -> tuple[int, ...]:
        sizes = [torch.zeros(1, dtype=torch.int64) for _ in range(self.world_size)]
        dist.all_gather(sizes, torch.tensor([own]), group=self._group)
        return tuple(int(size) for size in sizes)

