"""Encoded images of a column, decoded into one array."""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import chain, islice
from typing import Any

import numpy as np
import PIL
import pyarrow as pa
import pyarrow.compute as pc
import torch
from numpy.typing import NDArray
from PIL import Image

from ray_mentor.data.memory import require_memory
from ray_mentor.data.readers.pictures.decode import (
    BROKEN,
    DARK,
    DEEP,
    BrokenImageError,
    OtherImageError,
    Pixels,
    Size,
    by,
    decode,
    n_channels,
    open_image,
    upright_size,
)
from ray_mentor.data.readers.pictures.form import AS_THEY_ARE, Form
from ray_mentor.data.readers.tables.table import Stream, Table
from ray_mentor.data.samples.inputs import ImageInputs
from ray_mentor.data.samples.rows import Rows
from ray_mentor.errors import UserError
from ray_mentor.wording import counted

Flags = NDArray[np.uint8]
"""(N,): what there is to say of each row's image (:mod:`~ray_mentor.data.readers.pictures.decode`)."""
Encoded = list[tuple[int, bytes | None]]
"""(row, bytes) of some images."""

NAMED = 5
"""Broken images that are named."""

_TASK_IMAGES = 32  # images that one thread decodes in a row: small ones aren't worth a task each
_TASK_PIXELS = 2**20  # that are decoded for large ones' sake, so that no thread waits long for the others
_MOST_THREADS = 8
_PART_PIXELS = 2**26  # that are decoded before they are handed on
_LOOKED_AT = 256  # images whose size decides whether a margin is needed


@dataclass(frozen=True)
class Decoded:
    """Some rows' images in order, uint8 (n, H, W, C): 1 channel if all are grey, else 3; broken ones are black."""

    pixels: Pixels
    flags: Flags


def whole(flags: Flags) -> Rows:
    """The rows whose images could be decoded."""
    return np.flatnonzero(flags != BROKEN)


def none_whole(*, texts: bool = False) -> UserError:
    """What to say where all images are broken, or all texts empty."""
    nothing = "all texts are empty" if texts else "none of the images can be decoded"
    return UserError(f"{nothing}, but at least one is needed; look at the data")


def left_out(places: Sequence[str], count: int, *, texts: bool = False) -> str:
    """What the user should be told of ``count`` broken images, or empty texts, of which these come first."""
    named = ", ".join([*places, *["..."] * (count > len(places))])
    if texts:
        return f"left out {counted(count, 'text')} without a word (skip_broken): {named}"
    are = "image that" if count == 1 else "images that"
    return f"left out {count:,} {are} can't be decoded (skip_broken): {named}"


def said_of(read: Iterable[tuple[Table, Flags]], *, texts: bool = False) -> list[str]:
    """What the user should be told of the images, or texts, of some splits, broken ones named."""
    splits = list(read)
    broken = [table.place(int(row)) for table, flags in splits for row in np.flatnonzero(flags == BROKEN)]
    deep, dark = (sum(int(np.isin(flags, kinds).sum()) for _, flags in splits) for kinds in ((DEEP, DARK), (DARK,)))
    notes = [left_out(broken[:NAMED], len(broken), texts=texts)] if broken else []
    if deep:
        fix = f"; {dark:,} of them use 12 bits at most, and are dark: scale them before" if dark else ""
        notes.append(f"{counted(deep, 'image')} of 16 bits a channel: scaled to 8 bits by value / 257{fix}")
    return notes


def made_by(form: Form) -> dict[str, Any]:
    """What pixels depend on beside the bytes they are decoded from, to be written down with them."""
    resized = {} if form.stored is None else {"torch": torch.__version__, "stored": form.stored}
    return {"pillow": PIL.__version__, "skip_broken": form.skip_broken, **resized}


def read_images(table: Table, column: str, form: Form = AS_THEY_ARE) -> tuple[ImageInputs, Flags]:
    """Decodes a column into uint8 (n, H, W, C), broken images left out: 1 channel if all are grey, else 3.

    Needs the memory of the result and little else (once more for a moment where colour follows grey).

    Returns:
        The images; and flags of all rows, those of the ones that were left out too.

    Raises:
        UserError: as :func:`image_parts`, or too much for the memory.
    """
    shape = image_shape(table, column, form)
    require_memory(
        len(table) * math.prod(shape),
        f"{len(table):,} images of {by((shape[1], shape[0]))}",
        "make them smaller first (--image-size), or give --data-backend arrow",
    )
    pixels = np.empty((len(table), *shape), np.uint8)
    flags = []
    done = 0
    for part in image_parts(table, column, shape, form):
        if part.pixels.shape[3] > pixels.shape[3]:
            pixels = pixels.repeat(3, axis=3)
        some = part.pixels if (part.flags != BROKEN).all() else part.pixels[whole(part.flags)]
        pixels[done : done + len(some)] = some
        done += len(some)
        flags.append(part.flags)
    return ImageInputs(pixels[:done], side=form.side), np.concatenate(flags)


def image_shape(table: Stream, column: str, form: Form = AS_THEY_ARE) -> tuple[int, int, int]:
    """(height, width, channels) that the first image will have, by its head alone."""
    decoder = _Decoder(table, (0, 0), form)
    first = next(filter(None, (decoder.head(row, data) for row, data in _encoded(table, column))), None)
    if first is None:
        raise none_whole()
    width, height = upright_size(first) if form.stored is None else (form.stored, form.stored)
    return height, width, n_channels(first)


def first_sizes(table: Stream, column: str) -> Iterator[Size]:
    """(width, height) of the first few hundred images, by their heads; broken ones are passed over."""
    decoder = _Decoder(table, (0, 0), Form(skip_broken=True))
    heads = (decoder.head(row, data) for row, data in islice(_encoded(table, column), _LOOKED_AT))
    return (upright_size(head) for head in heads if head is not None)


def image_parts(table: Stream, column: str, shape: tuple[int, int, int], form: Form = AS_THEY_ARE) -> Iterator[Decoded]:
    """The images in order, some at a time, each brought to height and width of ``shape``.

    Raises:
        UserError: an empty or broken image (unless those are skipped), numbers whose white nobody knows, or, where
            ``form`` says no size, another size than in ``shape``; names file, row and sample id.
    """
    decoder = _Decoder(table, (shape[1], shape[0]), form)
    most = max(1, _PART_PIXELS // math.prod(shape[:2]))
    task = max(1, min(_TASK_IMAGES, _TASK_PIXELS // math.prod(shape[:2])))
    with ThreadPoolExecutor(min(_MOST_THREADS, os.cpu_count() or 1)) as pool:
        for first, batch in table.batches([column]):
            encoded: Encoded = list(enumerate(bytes_of(batch.column(0)), first))
            for part in _cut(encoded, most):
                images = list(chain.from_iterable(pool.map(decoder.decode_all, _cut(part, task))))
                channels = max(image.shape[2] for image, _ in images)
                pixels = np.stack([np.broadcast_to(image, (*image.shape[:2], channels)) for image, _ in images])
                yield Decoded(pixels, np.array([flag for _, flag in images], np.uint8))


class _Decoder:
    """Decodes images to one size (width, height), and says which one can't be."""

    def __init__(self, table: Stream, size: Size, form: Form) -> None:
        self.table = table
        self.size = size
        self.form = form

    def decode_all(self, encoded: Encoded) -> list[tuple[Pixels, int]]:
        return [self._decode(row, data) for row, data in encoded]

    def head(self, row: int, data: bytes | None) -> Image.Image | None:
        """None: it is broken, and those are skipped."""
        try:
            return open_image(data)
        except BrokenImageError as error:
            if self.form.skip_broken:
                return None
            raise self._broken(row, error) from error
        except OtherImageError as error:
            raise self._other(row, error) from error

    def _decode(self, row: int, data: bytes | None) -> tuple[Pixels, int]:
        image = self.head(row, data)
        try:
            if image is None:
                return self._black()
            self._check_size(row, upright_size(image))  # before a huge image costs anything
            pixels, flag = decode(image, self.form.stored)
        except BrokenImageError as error:
            if self.form.skip_broken:
                return self._black()
            raise self._broken(row, error) from error
        except OtherImageError as error:
            raise self._other(row, error) from error
        self._check_size(row, (pixels.shape[1], pixels.shape[0]))
        return pixels, flag

    def _black(self) -> tuple[Pixels, int]:
        return np.zeros((self.size[1], self.size[0], 1), np.uint8), BROKEN

    def _check_size(self, row: int, size: Size) -> None:
        if self.form.stored is None and size != self.size:
            fix = (
                "resize them first" if self.form.is_settled else "--image-size brings all to one, e.g. --image-size 224"
            )
            raise UserError(
                f"images must have one size, but the one in {self.table.place(row)} is {by(size)} and the first one "
                f"{by(self.size)} (width×height); {fix}"
            )

    def _broken(self, row: int, error: BrokenImageError) -> UserError:
        fix = "replace it, or leave all such images out: --skip-broken"
        return UserError(f"the image in {self.table.place(row)} {error}; {fix}")

    def _other(self, row: int, error: OtherImageError) -> UserError:
        return UserError(f"the image in {self.table.place(row)} {error}")


def _encoded(table: Stream, column: str) -> Iterator[tuple[int, bytes | None]]:
    for first, batch in table.batches([column]):
        yield from enumerate(bytes_of(batch.column(0)), first)


def bytes_of(column: pa.Array) -> list[bytes | None]:
    """Encoded images as they are stored, by themselves or with their paths."""
    encoded = pc.struct_field(column, "bytes") if pa.types.is_struct(column.type) else column
    values: list[bytes | None] = encoded.to_pylist()
    return values


def _cut(encoded: Encoded, size: int) -> list[Encoded]:
    return [encoded[start : start + size] for start in range(0, len(encoded), size)]
