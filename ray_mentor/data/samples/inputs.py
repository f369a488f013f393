"""What a sample's input is, and how it becomes what a model is fed."""

from __future__ import annotations

import hashlib
import math
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Self, TypeVar

import numpy as np
import torch
from jaxtyping import Float, Shaped
from numpy.typing import NDArray
from torch import Tensor
from typing_extensions import override

from ray_mentor.data.samples.draws import drawn_from
from ray_mentor.data.samples.rows import CONTENT, MOMENTS, AbstractRows, Rows

Scale = tuple[NDArray[np.float32], NDArray[np.float32]]
"""Mean and standard deviation, per channel or per feature."""

Part = tuple[Rows, tuple[int, ...]]
"""Rows that are taken together, and what random transforms draw then (:func:`drawn_from`)."""

Values = NDArray[Any] | AbstractRows
"""Rows in memory, or elsewhere."""

ImagesT = TypeVar("ImagesT", Tensor, NDArray[np.uint8])

_PART_BYTES = 2**24  # at a time where wider types than the values' are needed
DIGEST_BYTES = 16
"""Of a content hash."""
_CACHED_BYTES = 2**18  # of pixels that are added up together, so that they stay in the processor's cache
_EXACT_ROWS = 256  # of squares of a byte, whose sum is below 2^24, as far as float32 has every integer


class AbstractInputs(ABC):
    """The inputs of a data set, by row. Members can be pickled, and may hold read-only memory.

    Attributes:
        dtype: of what the model is fed: float32, or what integers a user's own data set gives.
        draws: whether taking rows may draw from the process's generators.
    """

    dtype: torch.dtype = torch.float32
    draws = False

    @abstractmethod
    def __len__(self) -> int: ...

    @property
    @abstractmethod
    def shape(self) -> tuple[int, ...]:
        """Shape of one model input, e.g. (3, 32, 32) or (64,)."""

    def ones(self) -> Tensor:
        """Two inputs as the model is fed them, of ones: of no meaning, but of the same form."""
        return torch.ones((2, *self.shape), dtype=self.dtype)

    @property
    def positions(self) -> float:
        """How often a layer of the model works on one input, about: once a token of a text."""
        return 1.0

    @abstractmethod
    def take(self, rows: Rows) -> Shaped[Tensor, "rows ..."]:
        """Of ``dtype`` and shape (len(rows), *shape): those rows, ready for the model; the caller owns the memory."""

    @abstractmethod
    def select(self, rows: Rows) -> AbstractInputs:
        """The same inputs, those rows only, in that order."""

    @abstractmethod
    def content_hashes(self) -> NDArray[np.bytes_]:
        """One 16-byte digest a row. Equal content has equal digests, whatever the scale."""

    def in_parts(self, parts: Iterable[Part]) -> Iterator[Shaped[Tensor, "rows ..."]]:
        """What :meth:`take` gives of one part after the other; they may be read ahead of whoever wants them.

        Args:
            parts: may be endless.
        """
        for rows, words in parts:
            with drawn_from(words, self):
                inputs = self.take(rows)
            yield inputs

    def join(self, parts: Sequence[Tensor]) -> Tensor:
        """What :meth:`take` gave of several parts, as one."""
        return torch.cat(list(parts))

    def open(self) -> None:  # noqa: B027 - most have nothing to do
        """Gets what this machine lacks to take rows: the first row that is taken waits for it otherwise."""


class AbstractArrayInputs(AbstractInputs):
    """Inputs that are the rows of one array, scaled to (value − mean) / std on their way to the model."""

    def __init__(self, values: Values, scale: Scale | None = None) -> None:
        self.values = values
        self.scale = scale if scale is not None else _no_scale(values.shape[-1])

    @override
    def __len__(self) -> int:
        return len(self.values)

    @override
    def take(self, rows: Rows) -> Float[Tensor, "rows ..."]:
        return self.fed(self.stored(rows))

    @property
    def stored_shape(self) -> tuple[int, ...]:
        """Of one row as it is stored."""
        return self.values.shape[1:]

    def stored(self, rows: Rows) -> Shaped[Tensor, "rows ..."]:
        """Those rows as they are stored; the caller owns the memory."""
        return torch.from_numpy(self.values[rows])

    @abstractmethod
    def fed(self, values: Tensor) -> Float[Tensor, "rows ..."]:
        """Rows as they are stored, which nobody else needs, as the model is fed them."""

    @override
    def select(self, rows: Rows) -> Self:
        values = self.values.select(rows) if isinstance(self.values, AbstractRows) else self.values[rows]
        return self.like(values, self.scale)

    def scaled(self, scale: Scale) -> Self:
        """The same values with another mean and standard deviation."""
        return self.like(self.values, scale)

    def holding(self, values: Values) -> Self:
        """The same rows, held in another way."""
        return self.like(values, self.scale)

    def like(self, values: Values, scale: Scale) -> Self:
        """Other values, shown as these are."""
        return type(self)(values, scale)

    @override
    def content_hashes(self) -> NDArray[np.bytes_]:
        if isinstance(self.values, AbstractRows):
            return self.values.beside(CONTENT)
        parts = (self._content(self.values[rows]) for rows in self._parts())
        return join_digests(digest(row.tobytes()) for part in parts for row in part)

    @override
    def open(self) -> None:
        if isinstance(self.values, AbstractRows):
            self.values.open()

    @abstractmethod
    def statistics(self) -> Scale:
        """Mean and standard deviation per channel or feature; the deviation of a constant counts as 1."""

    @staticmethod
    @abstractmethod
    def _content(values: NDArray[Any]) -> NDArray[Any]:
        """What tells these rows from others."""

    def _parts(self) -> Iterator[slice]:
        """All rows, some megabytes at a time."""
        size = max(1, _PART_BYTES // (math.prod(self.values.shape[1:]) * self.values.dtype.itemsize))
        return (slice(start, start + size) for start in range(0, len(self), size))


class FeatureInputs(AbstractArrayInputs):
    """Numeric features, float32 (N, F)."""

    def __init__(self, values: Values, scale: Scale | None = None) -> None:
        assert values.ndim == 2
        assert values.dtype == np.float32
        super().__init__(values, scale)

    @property
    @override
    def shape(self) -> tuple[int, ...]:
        return (self.values.shape[1],)

    @override
    def fed(self, values: Tensor) -> Float[Tensor, "rows features"]:
        mean, std = (_own_tensor(value).to(values.device) for value in self.scale)
        return values.sub_(mean).div_(std)

    @override
    def statistics(self) -> Scale:
        mean = sum(self.values[rows].sum(0, dtype=np.float64) for rows in self._parts()) / len(self)
        return _scale(mean, sum(np.square(self.values[rows] - mean).sum(0) for rows in self._parts()) / len(self))

    @staticmethod
    @override
    def _content(values: NDArray[Any]) -> NDArray[Any]:
        return values + np.float32(0)  # −0 and 0 are the same content


class ImageInputs(AbstractArrayInputs):
    """Images, uint8 (N, H, W, C); the model is fed (pixel / 255 − mean) / std as (C, H, W).

    Args:
        side: of the square in the middle that the model is fed, and random crops become: more is stored, so that they
            have a margin. None: images are fed whole.
    """

    def __init__(self, pixels: Values, scale: Scale | None = None, side: int | None = None) -> None:
        assert pixels.ndim == 4
        assert pixels.dtype == np.uint8
        assert side is None or side <= min(pixels.shape[1:3])
        self.side = side
        super().__init__(pixels, scale)

    @property
    @override
    def shape(self) -> tuple[int, ...]:
        height, width, channels = self.values.shape[1:]
        return (channels, height, width) if self.side is None else (channels, self.side, self.side)

    @override
    def fed(self, values: Tensor) -> Float[Tensor, "rows channels height width"]:
        """Images as they are stored, or cropped already, as the model is fed them."""
        shown = middle(values, *self.shape[1:])
        # Whole lines at a time: over three channels alone, neither loop is worth a processor's while.
        scale = (_own_tensor(np.tile(value * np.float32(255), shown.shape[2])) for value in self.scale)
        mean, std = (value.to(values.device) for value in scale)
        lines = shown.to(torch.float32, memory_format=torch.contiguous_format).flatten(2).sub_(mean).div_(std)
        # Channels stay last in memory, as the pixels are stored and as convolutions like them best.
        return lines.view(shown.shape).permute(0, 3, 1, 2)

    @override
    def like(self, values: Values, scale: Scale) -> Self:
        return type(self)(values, scale, self.side)

    @override
    def statistics(self) -> Scale:
        totals = sum(self._moments(rows).sum(0) for rows in self._parts())
        count = len(self) * math.prod(self.values.shape[1:3])
        mean = np.broadcast_to(totals[0] / (255 * count), self.shape[:1])
        return _scale(mean, totals[1] / (255**2 * count) - mean**2)

    def in_colour(self) -> Self:
        """The same images with 3 channels: grey ones have theirs repeated."""
        return self if self.shape[0] == 3 else self.like(self.values.repeat(3, axis=3), _no_scale(3))

    @staticmethod
    @override
    def _content(values: NDArray[Any]) -> NDArray[Any]:
        return np.broadcast_to(values, (*values.shape[:3], 3))  # a grey image is the same content in colour

    def _moments(self, rows: slice) -> NDArray[np.int64]:
        return (
            self.values.beside(MOMENTS, rows) if isinstance(self.values, AbstractRows) else moments(self.values[rows])
        )


def middle(images: ImagesT, height: int, width: int) -> ImagesT:
    """The middle of images (N, H, W, C), as torchvision's ``CenterCrop`` takes it."""
    top, left = (round((length - part) / 2) for length, part in zip(images.shape[1:3], (height, width), strict=True))
    return images[:, top : top + height, left : left + width]


def moments(pixels: NDArray[np.uint8]) -> NDArray[np.int64]:
    """Σ pixel and Σ pixel² of each image and channel, (N, 2, C); exact, so that no order of adding them matters."""
    some = max(1, _CACHED_BYTES // max(1, math.prod(pixels.shape[1:])))
    parts = [_moments_of(pixels[start : start + some]) for start in range(0, len(pixels), some)]
    return np.concatenate(parts) if parts else np.zeros((0, 2, pixels.shape[3]), np.int64)


def _moments_of(pixels: NDArray[np.uint8]) -> NDArray[np.int64]:
    n, height, width, channels = pixels.shape
    sums = np.zeros((2, n, width * channels), np.int64)
    for top in range(0, height, _EXACT_ROWS):
        block = pixels[:, top : top + _EXACT_ROWS].reshape(n, -1, width * channels).astype(np.float32)
        ones = np.ones((1, block.shape[1]), np.float32)
        sums[0] += (ones @ block)[:, 0].astype(np.int64)
        sums[1] += (ones @ np.square(block, out=block))[:, 0].astype(np.int64)
    totals: NDArray[np.int64] = sums.reshape(2, n, width, channels).sum(2).transpose(1, 0, 2)
    return totals


def _no_scale(size: int) -> Scale:
    return np.zeros(size, np.float32), np.ones(size, np.float32)


def _scale(mean: NDArray[np.float64], variance: NDArray[np.float64]) -> Scale:
    # A spread below float32's resolution of the values is rounding, not information.
    std = np.sqrt(np.maximum(variance, 0))
    std = np.where(std > 1e-6 * np.maximum(1e-6, np.abs(mean)), std, 1)
    return mean.astype(np.float32), std.astype(np.float32)


def _own_tensor(values: NDArray[np.float32]) -> Tensor:
    return torch.from_numpy(values.copy())  # torch refuses memory it may not write to


def digest(content: bytes | memoryview) -> bytes:
    """Of one row's content."""
    return hashlib.blake2b(content, digest_size=DIGEST_BYTES).digest()


def join_digests(digests: Iterable[bytes]) -> NDArray[np.bytes_]:
    """One digest a row, as an array."""
    return np.frombuffer(b"".join(digests), dtype=f"S{DIGEST_BYTES}")
