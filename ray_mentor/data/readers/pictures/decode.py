"""One encoded image to pixels."""

from __future__ import annotations

import io
import math
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageOps
from torch.nn import functional

from ray_mentor.data.samples.inputs import middle

Pixels = NDArray[np.uint8]
"""(H, W, 1) or (H, W, 3)."""
Size = tuple[int, int]
"""Width and height, as Pillow has it."""

# Only formats that Pillow decodes itself: of the others, some start a program (EPS starts Ghostscript).
FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF", "PPM")
MOST_PIXELS = 89_478_485
"""A quarter of a gigabyte in colour, where Pillow begins to warn."""

FINE, BROKEN, DEEP, DARK = range(4)
"""What there is to say of an image: nothing; it can't be decoded; it had 16 bits a channel; and used 12 of them."""

_GREY = ("L", "1", "LA", "La")
_SIXTEEN_BITS = ("I;16", "I;16B", "I;16L", "I;16N", "I")
_TWELVE_BITS = 2**12
_JPEG = ("JPEG", "MPO")
_REDUCED = 2  # times the side that is wanted, to which a JPEG is brought in its decoder: beyond that, it is seen
_LONGEST = 8  # times the shorter side: resizing a whole strip of a pixel's width would fill the memory
_ORIENTATION = 0x0112
_TURNED = (5, 6, 7, 8)


class BrokenImageError(Exception):
    """The bytes are no image, or not a whole one; says what is wrong with "the image ..."."""


class OtherImageError(Exception):
    """The image is whole, but not one that can be used; likewise."""


def open_image(data: bytes | None) -> Image.Image:
    """The head of an image.

    Raises:
        BrokenImageError: no bytes, or none that are an image.
        OtherImageError: too many pixels.
    """
    if not data:
        raise BrokenImageError("is empty")
    try:
        image = Image.open(io.BytesIO(data), formats=FORMATS)
    except Exception as error:  # Pillow's decoders raise whatever they trip over
        raise _broken(error) from error
    if math.prod(image.size) > MOST_PIXELS:
        raise OtherImageError(f"is {by(image.size)}, but an image may have {MOST_PIXELS:,} pixels; resize them first")
    return image


def upright_size(image: Image.Image) -> Size:
    """Width and height of an image whose head has been read, turned as its camera says (EXIF)."""
    is_turned = _says_later(image) and image.getexif().get(_ORIENTATION) in _TURNED
    return (image.height, image.width) if is_turned else image.size


def n_channels(image: Image.Image) -> int:
    """1 for a grey image, else 3."""
    return 1 if image.mode in _GREY or image.mode in _SIXTEEN_BITS else 3


def decode(image: Image.Image, stored: int | None) -> tuple[Pixels, int]:
    """Pixels of an image whose head has been read, and what there is to say of it.

    Upright as its camera says (EXIF); the first frame of an animation; without transparency, as torchvision's loader;
    16 bits to 8 by value / 257, so that white stays white.

    Args:
        stored: side of the square it is brought to, by :func:`square`. A JPEG more than twice as large is reduced by
            its decoder first. None: as large as it is.

    Raises:
        BrokenImageError: not a whole image.
        OtherImageError: values that nobody can say the white of.
    """
    try:
        if stored is not None and image.format in _JPEG:
            image.draft(None, (_REDUCED * stored, _REDUCED * stored))
        image.load()
        ImageOps.exif_transpose(image, in_place=True)
        pixels, said = _plain(image)
        return pixels if stored is None else square(pixels, stored), said
    except OtherImageError:
        raise
    except Exception as error:  # see open_image
        raise _broken(error) from error


def square(pixels: Pixels, side: int) -> Pixels:
    """The shorter side resized to ``side`` (bilinear, antialiased), and the longer one cropped at both ends.

    To the bit what torchvision's ``Resize(side)`` and ``CenterCrop(side)`` make of bytes; of an image more than
    8 times as long as wide, the middle alone is looked at.
    """
    short = min(pixels.shape[:2])
    image = middle(pixels[None], *(min(length, _LONGEST * short) for length in pixels.shape[:2]))
    resized = [int(side * length / short) for length in image.shape[1:3]]
    if resized != list(image.shape[1:3]):
        # Whole, since PyTorch would copy a part in threads of its own, for each thread that decodes.
        planes = torch.from_numpy(np.ascontiguousarray(image)).permute(0, 3, 1, 2)
        planes = functional.interpolate(planes, size=resized, mode="bilinear", antialias=True)
        image = planes.permute(0, 2, 3, 1).numpy()
    return np.ascontiguousarray(middle(image, side, side)[0])


def by(size: Size) -> str:
    """How a size is written."""
    return f"{size[0]}×{size[1]}"


def _says_later(image: Image.Image) -> bool:
    """Whether Pillow leaves it to us to turn an image, and knows by its head how.

    Of a TIFF, it tells the size as it will be; of a PNG it would decode the pixels to look for EXIF behind them, where
    hardly anyone has it.
    """
    return image.format != "TIFF" and (image.format != "PNG" or "exif" in image.info)


def _plain(image: Image.Image) -> tuple[Pixels, int]:
    """Grey or in colour, of 8 bits."""
    if image.mode in _SIXTEEN_BITS:
        return _of_sixteen_bits(np.asarray(image))
    if image.mode == "F":
        raise OtherImageError(
            "holds fractions (mode F), of which nobody knows what white is; convert it to 8 bits first"
        )
    if image.mode in _GREY:
        return np.array(_converted(image, "L"))[..., None], FINE
    if "transparency" in image.info:
        image = image.convert("RGBA")  # the way Pillow wants it; straight to RGB it warns
    return np.array(_converted(image, "RGB")), FINE


def _converted(image: Image.Image, mode: str) -> Image.Image:
    return image if image.mode == mode else image.convert(mode)


def _of_sixteen_bits(values: NDArray[Any]) -> tuple[Pixels, int]:
    low, high = int(values.min()), int(values.max())
    if low < 0 or high >= 2**16:
        raise OtherImageError(
            f"has more than 16 bits a channel (values from {low:,} to {high:,}); convert it to 8 bits first"
        )
    scaled = ((values.astype(np.uint32) + 128) // 257).astype(np.uint8)
    return scaled[..., None], DARK if high < _TWELVE_BITS else DEEP


def _broken(error: Exception) -> BrokenImageError:
    reason = (str(error).splitlines() or [""])[0] or type(error).__name__
    if "cannot identify image file" in reason:
        reason = f"none of {', '.join(FORMATS)}"
    return BrokenImageError(f"can't be decoded ({reason})")
