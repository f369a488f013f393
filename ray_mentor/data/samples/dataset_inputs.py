"""The inputs of a torch data set of the user's own."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Shaped
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from typing_extensions import override

from ray_mentor.data.samples.inputs import AbstractInputs, Part, digest, join_digests
from ray_mentor.data.samples.read_ahead import read_ahead
from ray_mentor.data.samples.rows import Rows
from ray_mentor.errors import UserError

_IMAGE_AXES = 3


@dataclass(frozen=True)
class _Like:
    """The sample that all others must be like."""

    index: int
    shape: tuple[int, ...]
    dtype: torch.dtype


class DatasetInputs(AbstractInputs):
    """The inputs of any map-style torch data set that gives (input, label): ``dataset[i][0]``, fetched on demand.

    Floats become float32, as do booleans and the bytes (uint8) of an image, (C, H, W). Other integers are ids or codes:
    they stay what they are (unsigned ones wider than a byte become int64), since float32 can't tell them apart beyond
    2^24.

    Attributes:
        readers: processes that read ahead of whoever takes parts; 0: they are read when they are taken.
    """

    draws = True
    readers = 0

    def __init__(self, dataset: Any, rows: Rows | None = None, like: _Like | None = None) -> None:
        self.dataset = dataset
        self.rows = np.arange(len(dataset)) if rows is None else rows
        self._like = like
        if like is None and len(self.rows):
            first = self._item(0)
            self._like = _Like(int(self.rows[0]), tuple(first.shape), first.dtype)
        if self._like is not None:
            self.dtype = self._like.dtype

    @override
    def __len__(self) -> int:
        return len(self.rows)

    @property
    @override
    def shape(self) -> tuple[int, ...]:
        return self._like.shape if self._like else ()

    @override
    def take(self, rows: Rows) -> Shaped[Tensor, "rows ..."]:
        if len(rows) == 0:
            return torch.empty((0, *self.shape), dtype=self.dtype)
        return torch.stack([self._item(row) for row in rows])

    @override
    def select(self, rows: Rows) -> DatasetInputs:
        return DatasetInputs(self.dataset, self.rows[rows], self._like).read_by(self.readers)

    def read_by(self, readers: int) -> DatasetInputs:
        """The same inputs with so many processes that read ahead."""
        twin = copy.copy(self)
        twin.readers = readers
        return twin

    @override
    def in_parts(self, parts: Iterable[Part]) -> Iterator[Shaped[Tensor, "rows ..."]]:
        return super().in_parts(parts) if self.readers == 0 else read_ahead(self, parts, self.readers)

    @override
    def content_hashes(self) -> NDArray[np.bytes_]:
        return join_digests(digest(self._item(row).numpy().tobytes()) for row in range(len(self)))

    def _item(self, row: int) -> Tensor:
        index = int(self.rows[row])
        item = _as_tensor(self.dataset[index][0], index)
        like = self._like
        if like is not None and item.shape != like.shape:
            raise UserError(
                f"inputs must have one shape, but dataset[{index}] gives {tuple(item.shape)} and "
                f"dataset[{like.index}] {like.shape}; resize or pad them in the data set's transform"
            )
        if like is not None and item.dtype != like.dtype:
            raise UserError(
                f"inputs must be of one type, but dataset[{index}] gives {item.dtype} and dataset[{like.index}] "
                f"{like.dtype}; convert them in the data set's transform"
            )
        return item


def _as_tensor(value: Any, index: int) -> Tensor:
    if isinstance(value, Image.Image):
        raise UserError(
            f"dataset[{index}] gives a PIL image as input, but it must be a tensor; "
            "add ToTensor() to the data set's transform"
        )
    if isinstance(value, np.ndarray | np.number | int | float):
        array = np.asarray(value)
        value = _tensor_of(array) if array.dtype.kind in "biuf" else array
    if not isinstance(value, Tensor) or value.is_complex() or value.layout != torch.strided:
        kind = getattr(value, "dtype", type(value).__name__)
        raise UserError(
            f"dataset[{index}] gives a {kind} as input, but it must be a tensor; convert it in the data set's "
            "transform (real numbers, not sparse)"
        )
    return _fed(value.detach().cpu(), index)


def _tensor_of(array: NDArray[Any]) -> Tensor:
    """Of numbers in any byte order and of any width."""
    if array.dtype.kind != "f":
        return torch.from_numpy(array.astype(array.dtype.newbyteorder("=")))
    with np.errstate(over="ignore"):  # becomes infinite, and the losses are checked
        return torch.from_numpy(array.astype(np.float32))


def _fed(value: Tensor, index: int) -> Tensor:
    """As the model is fed it."""
    is_pixels = value.dtype == torch.uint8 and value.ndim == _IMAGE_AXES
    if value.is_floating_point() or value.dtype == torch.bool or is_pixels:
        return value.to(torch.float32)
    if value.dtype not in (torch.uint16, torch.uint32, torch.uint64):
        return value
    signed = value.to(torch.int64)
    if bool((signed < 0).any()):
        raise UserError(
            f"dataset[{index}] gives an integer of 2**63 or more as input, but it must fit into int64; number anew in "
            "the data set's transform"
        )
    return signed
