"""Encoded images of a Parquet column, decoded into one array."""

from __future__ import annotations

import io
import math
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import chain

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from PIL import Image

from ray_mentor.data.memory import require_memory
from ray_mentor.data.readers.parquet.table import Stream, Table
from ray_mentor.data.samples.inputs import ImageInputs
from ray_mentor.errors import UserError

Pixels = NDArray[np.uint8]
Encoded = list[tuple[int, bytes | None]]
"""(row, bytes) of some images."""

# Only formats that Pillow decodes itself: of the others, some start a program (EPS starts Ghostscript).
FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF", "PPM")
_GREY = ("L", "1")
_DEEP = ("I", "F", "I;16", "I;16B", "I;16L", "I;16N")
_MOST_PIXELS = 89_478_485  # a quarter of a gigabyte in colour, where Pillow begins to warn
_TASK_IMAGES = 32  # images that one thread decodes in a row: small ones aren't worth a task each
_MOST_THREADS = 8
_PART_PIXELS = 2**26  # that are decoded before they are handed on


def read_images(table: Table, column: str) -> ImageInputs:
    """Decodes a column into uint8 (N, H, W, C): 1 channel if all are grey, else 3.

    Needs the memory of the result and little else (once more for a moment where colour follows grey).

    Raises:
        UserError: as :func:`image_parts`, or too much for the memory.
    """
    shape = image_shape(table, column)
    require_memory(
        len(table) * math.prod(shape),
        f"{len(table):,} images of {_by((shape[1], shape[0]))}",
        "make them smaller first, or give --data-backend arrow",
    )
    pixels = np.empty((len(table), *shape), np.uint8)
    done = 0
    for part in image_parts(table, column, shape):
        if part.shape[3] > pixels.shape[3]:
            pixels = pixels.repeat(3, axis=3)
        pixels[done : done + len(part)] = part
        done += len(part)
    return ImageInputs(pixels)


def image_shape(table: Table, column: str) -> tuple[int, int, int]:
    """(height, width, channels) of the first image, by its head alone."""
    data = next((_bytes_of(batch.column(0))[0] for _, batch in table.batches([column]) if len(batch)), None)
    first = _Decoder(table, (0, 0)).open(0, data)
    return first.height, first.width, 1 if first.mode in _GREY else 3


def image_parts(table: Stream, column: str, shape: tuple[int, int, int]) -> Iterator[Pixels]:
    """The images in order, uint8 (some, H, W, C): 1 channel if all of a part are grey, else 3.

    Raises:
        UserError: an empty or broken image, more than 8 bits a channel, or another size than in ``shape``; names
            file, row and sample id.
    """
    decoder = _Decoder(table, (shape[1], shape[0]))
    most = max(1, _PART_PIXELS // math.prod(shape[:2]))
    with ThreadPoolExecutor(min(_MOST_THREADS, os.cpu_count() or 1)) as pool:
        for first, batch in table.batches([column]):
            encoded: Encoded = list(enumerate(_bytes_of(batch.column(0)), first))
            for part in _cut(encoded, most):
                images = list(chain.from_iterable(pool.map(decoder.decode_all, _cut(part, _TASK_IMAGES))))
                channels = max(image.shape[2] for image in images)
                yield np.stack([np.broadcast_to(image, (*image.shape[:2], channels)) for image in images])


class _Decoder:
    """Decodes images of one size (width, height), and says which one can't be."""

    def __init__(self, table: Stream, size: tuple[int, int]) -> None:
        self.table = table
        self.size = size

    def decode_all(self, encoded: Encoded) -> list[Pixels]:
        return [self._decode(row, data) for row, data in encoded]

    def _decode(self, row: int, data: bytes | None) -> Pixels:
        image = self.open(row, data)
        self._check(row, image)
        try:
            return _pixels(image)
        except Exception as error:  # Pillow's decoders raise whatever they trip over
            raise self._broken(row, error) from error

    def open(self, row: int, data: bytes | None) -> Image.Image:
        if not data:
            raise UserError(f"the image in {self.table.place(row)} is empty; put it in, or leave the row out")
        try:
            image = Image.open(io.BytesIO(data), formats=FORMATS)
        except Exception as error:  # see _decode
            raise self._broken(row, error) from error
        if math.prod(image.size) > _MOST_PIXELS:
            raise UserError(
                f"the image in {self.table.place(row)} is {_by(image.size)}, but an image may have {_MOST_PIXELS:,} "
                "pixels; resize them first"
            )
        return image

    def _check(self, row: int, image: Image.Image) -> None:
        # Before the pixels are decoded, so that a huge image costs nothing.
        if image.size != self.size:
            raise UserError(
                f"images must have one size, but the one in {self.table.place(row)} is {_by(image.size)} "
                f"and the first one {_by(self.size)} (width×height); resize them first"
            )
        if image.mode in _DEEP:
            raise UserError(
                f"the image in {self.table.place(row)} has more than 8 bits a channel (mode {image.mode}); "
                "convert it to 8 bits first"
            )

    def _broken(self, row: int, error: Exception) -> UserError:
        reason = (str(error).splitlines() or [""])[0] or type(error).__name__
        if "cannot identify image file" in reason:
            reason = f"none of {', '.join(FORMATS)}"
        return UserError(
            f"the image in {self.table.place(row)} can't be decoded ({reason}); replace it, or leave the row out"
        )


def _pixels(image: Image.Image) -> Pixels:
    if image.mode in _GREY:
        return np.asarray(image.convert("L"))[..., None]
    if "transparency" in image.info:
        image = image.convert("RGBA")  # the way Pillow wants it; straight to RGB it warns
    return np.asarray(image.convert("RGB"))


def _bytes_of(column: pa.Array) -> list[bytes | None]:
    encoded = pc.struct_field(column, "bytes") if pa.types.is_struct(column.type) else column
    values: list[bytes | None] = encoded.to_pylist()
    return values


def _cut(encoded: Encoded, size: int) -> list[Encoded]:
    return [encoded[start : start + size] for start in range(0, len(encoded), size)]


def _by(size: tuple[int, int]) -> str:
    return f"{size[0]}×{size[1]}"
