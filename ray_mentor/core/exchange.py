"""What ranks tell each other: a few floats per sample, once a step."""

from __future__ import annotations

import json
import struct
from abc import ABC, abstractmethod
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist
from jaxtyping import Float, Num
from torch import Tensor


class AbstractExchange(ABC):
    """Collectives over the student workers of a run; every rank calls the same ones in the same order."""

    rank: int
    world_size: int

    @abstractmethod
    def sizes(self, own: int) -> tuple[int, ...]:
        """How many rows each rank has."""

    @abstractmethod
    def gather(self, rows: Num[Tensor, "own columns"], sizes: tuple[int, ...]) -> Num[Tensor, "all columns"]:
        """Every rank's rows, in rank order, where they lie; rank r gives ``sizes[r]`` of them."""

    def gather_columns(self, columns: list[Num[Tensor, " own"]], sizes: tuple[int, ...]) -> list[Num[Tensor, " all"]]:
        """As :meth:`gather`, of columns of any types, in one message; integers up to 2^53."""
        if self.world_size == 1:
            return columns
        table = self.gather(torch.stack([column.double() for column in columns], dim=1), sizes)
        return [found.to(column.dtype) for found, column in zip(table.unbind(dim=1), columns, strict=True)]

    def gather_any(self, rows: Num[Tensor, "own columns"]) -> Num[Tensor, "all columns"]:
        """Every rank's rows, in rank order, however many each has."""
        sizes = self.sizes(len(rows))
        return self.gather(rows, sizes) if any(sizes) else rows

    def total(self, value: float) -> float:
        """The sum of every rank's value."""
        one_each = (1,) * self.world_size
        return float(self.gather(torch.tensor([[value]], dtype=torch.float64), one_each).sum())

    @abstractmethod
    def sum_of(self, tensors: list[Tensor]) -> list[Tensor]:
        """The sum over ranks of tensors on the student's device, whose shapes and types are the same everywhere."""

    @abstractmethod
    def wait_for_all(self) -> None:
        """Returns once every rank has got here."""

    @abstractmethod
    def broadcast(self, value: Any) -> Any:
        """Rank 0's value, on every rank: bytes, or what JSON has (a list comes for a tuple). The others' is ignored.

        Raises:
            RuntimeError: what has come is neither, so it is from somebody else than a rank of ours.
            TypeError: rank 0's value is neither.
        """

    @abstractmethod
    def broadcast_floats(self, values: Float[Tensor, " n"]) -> Float[Tensor, " n"]:
        """Rank 0's values, on every rank; the others give a tensor of the same length and type."""


class Alone(AbstractExchange):
    """One process."""

    rank = 0
    world_size = 1

    def sizes(self, own: int) -> tuple[int, ...]:
        return (own,)

    def gather(self, rows: Num[Tensor, "own columns"], sizes: tuple[int, ...]) -> Num[Tensor, "all columns"]:
        return rows

    def sum_of(self, tensors: list[Tensor]) -> list[Tensor]:
        return tensors

    def wait_for_all(self) -> None:
        pass

    def broadcast(self, value: Any) -> Any:
        return value

    def broadcast_floats(self, values: Float[Tensor, " n"]) -> Float[Tensor, " n"]:
        return values


class Ranks(AbstractExchange):
    """The ranks of a process group.

    What lies on the CPU travels over a gloo group of its own; sums, and what lies on the student's device, over the
    default group, which is made for that.

    Args:
        timeout: how long a rank waits for the others; None for PyTorch's half hour.
    """

    def __init__(self, timeout: timedelta | None = None) -> None:
        self.rank = dist.get_rank()
        self.world_size = dist.get_world_size()
        self._group: Any = dist.new_group(backend="gloo", timeout=timeout)

    def sizes(self, own: int) -> tuple[int, ...]:
        table = self.gather(torch.tensor([[own]]), (1,) * self.world_size)
        return tuple(table[:, 0].tolist())

    def gather(self, rows: Num[Tensor, "own columns"], sizes: tuple[int, ...]) -> Num[Tensor, "all columns"]:
        padded = rows.new_zeros((max(sizes), rows.shape[1]))
        padded[: len(rows)] = rows
        parts = [torch.empty_like(padded) for _ in sizes]
        dist.all_gather(parts, padded, group=self._group if rows.device.type == "cpu" else None)
        return torch.cat([part[:size] for part, size in zip(parts, sizes, strict=True)])

    def sum_of(self, tensors: list[Tensor]) -> list[Tensor]:
        sums: list[Tensor] = list(tensors)
        for dtype in dict.fromkeys(tensor.dtype for tensor in tensors):  # one message each
            places = [i for i, tensor in enumerate(tensors) if tensor.dtype == dtype]
            flat = torch.cat([tensors[i].reshape(-1) for i in places])
            dist.all_reduce(flat)
            pieces = flat.split([tensors[i].numel() for i in places])
            for i, piece in zip(places, pieces, strict=True):
                sums[i] = piece.view_as(tensors[i])
        return sums

    def wait_for_all(self) -> None:
        dist.barrier(group=self._group)

    def broadcast(self, value: Any) -> Any:
        if self.rank == 0:
            kind, data = _written(value)
            head = struct.pack(_FORM, kind, len(data)) + data[:_INSIDE]
            self._broadcast_bytes(torch.frombuffer(bytearray(head.ljust(_HEAD, b"\0")), dtype=torch.uint8))
            if len(data) > _INSIDE:
                self._broadcast_bytes(torch.frombuffer(bytearray(data), dtype=torch.uint8))
            return value
        head = self._broadcast_bytes(torch.empty(_HEAD, dtype=torch.uint8))
        kind, size = struct.unpack_from(_FORM, head)
        _check_head(kind, size)
        if size <= _INSIDE:
            return _read(kind, head[_HEAD - _INSIDE :][:size])
        return _read(kind, self._broadcast_bytes(torch.empty(size, dtype=torch.uint8)))

    def _broadcast_bytes(self, tensor: Num[Tensor, " n"]) -> bytes:
        dist.broadcast(tensor, src=0, group=self._group)
        return tensor.numpy().tobytes() if self.rank else b""

    def broadcast_floats(self, values: Float[Tensor, " n"]) -> Float[Tensor, " n"]:
        dist.broadcast(values, src=0, group=self._group)
        return values


_HEAD = 256  # bytes of the first message of a broadcast: what follows, and its beginning
_FORM = "<cq"  # its kind, and how many bytes it has
_INSIDE = _HEAD - struct.calcsize(_FORM)
_JSON, _BYTES = b"j", b"b"


def _written(value: Any) -> tuple[bytes, bytes]:
    """A value's kind, and the bytes that stand for it."""
    return (_BYTES, value) if isinstance(value, bytes) else (_JSON, json.dumps(value).encode())


def _read(kind: bytes, data: bytes) -> Any:
    if kind == _BYTES:
        return data
    try:
        return json.loads(data)
    except (ValueError, RecursionError) as error:
        raise RuntimeError(f"what rank 0 has sent can't be read as JSON ({error}); {_LOOK}") from error


def _check_head(kind: bytes, size: int) -> None:
    if kind not in (_JSON, _BYTES) or size < 0:
        raise RuntimeError(f"what rank 0 has sent is of kind {kind!r} and has {size} bytes; {_LOOK}")


_LOOK = "see who else reaches the ports of this machine"
