"""Encoded images to pixels: against torchvision's own transforms, and what each kind of image becomes."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image, ImageOps
from torchvision.transforms import v2

from ray_mentor.data.readers.pictures.decode import DARK, DEEP, FINE, decode, n_channels, open_image, upright_size

SIZES = [(50, 37), (33, 50), (32, 32), (40, 32), (97, 31), (31, 100), (130, 33), (8, 9), (7, 5), (320, 41)]


def smooth(width: int, height: int, mode: str = "RGB", grain: int = 3) -> Image.Image:
    """Structures of several pixels, as in photographs."""
    draw = np.random.default_rng([width, height])
    few = draw.integers(0, 256, (height // grain + 2, width // grain + 2, 3), dtype=np.uint8)
    return Image.fromarray(few).resize((width, height), Image.Resampling.BICUBIC).convert(mode)


def encoded(image: Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def decoded(data: bytes, stored: int | None = None) -> NDArray[np.uint8]:
    return decode(open_image(data), stored)[0]


@pytest.mark.parametrize("mode", ["RGB", "L"])
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("side", [32, 21])
def test_a_square_is_what_torchvision_makes_of_it(size: tuple[int, int], mode: str, side: int) -> None:
    image = smooth(*size, mode)
    found = decoded(encoded(image), side)
    transform = v2.Compose([v2.Resize(side, antialias=True), v2.CenterCrop(side)])
    assert torch.equal(torch.from_numpy(found), transform(v2.functional.pil_to_tensor(image)).permute(1, 2, 0))
    of_pillow = np.asarray(transform(image)).reshape(found.shape)
    assert np.abs(found.astype(int) - of_pillow).max() <= 1, "to rounding"


def test_a_strip_is_not_resized_as_a_whole() -> None:
    """60,000 pixels by 2, to 100 by 3,000,000, would take a gigabyte."""
    image = Image.fromarray(np.tile(np.array([[0], [200]], np.uint8), (1, 60_000)))
    assert decoded(encoded(image), 100).shape == (100, 100, 1)


@pytest.mark.parametrize("size", [(640, 480), (904, 1208)])
def test_a_large_jpeg_is_reduced_by_its_decoder_with_hardly_a_difference(size: tuple[int, int]) -> None:
    data = encoded(smooth(*size, grain=24), "JPEG", quality=90)
    whole = decoded(encoded(Image.open(io.BytesIO(data))), 48).astype(int)
    found = decoded(data, 48).astype(int)
    assert 0 < np.abs(found - whole).max() <= 10
    assert np.abs(found - whole).mean() < 1


@pytest.mark.parametrize("turn", range(1, 9))
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_an_image_is_turned_as_its_camera_says(kind: str, turn: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = turn
    image = smooth(24, 16)
    data = encoded(image, kind, exif=exif)
    upright = ImageOps.exif_transpose(Image.open(io.BytesIO(data)))
    found = decoded(data)
    assert np.array_equal(found, np.asarray(upright.convert("RGB")))
    assert upright_size(open_image(data)) == upright.size == (found.shape[1], found.shape[0])
    assert upright.size == ((16, 24) if turn > 4 else (24, 16))


def palette(transparent: bool) -> bytes:
    image = smooth(9, 6).quantize(16)
    return encoded(image, "PNG", transparency=bytes([0, 128] * 8)) if transparent else encoded(image)


def with_alpha(mode: str) -> bytes:
    image = smooth(9, 6, mode)
    image.putalpha(Image.fromarray(np.arange(54, dtype=np.uint8).reshape(6, 9)))
    return encoded(image)


PLAIN = [
    (encoded(smooth(9, 6)), 3),
    (encoded(smooth(9, 6, "L")), 1),
    (encoded(smooth(9, 6, "1")), 1),
    (with_alpha("L"), 1),
    (with_alpha("RGB"), 3),
    (palette(False), 3),
    (palette(True), 3),
    (encoded(smooth(9, 6, "CMYK"), "JPEG"), 3),
    (encoded(smooth(9, 6, "CMYK"), "TIFF"), 3),
    (encoded(smooth(9, 6).quantize(16), "GIF"), 3),
]


@pytest.mark.parametrize(("data", "channels"), PLAIN)
def test_every_kind_is_grey_or_in_colour(data: bytes, channels: int) -> None:
    image = open_image(data)
    assert n_channels(image) == channels
    found, said = decode(image, None)
    loaded = np.asarray(Image.open(io.BytesIO(data)).convert("RGBA").convert("RGB"))  # as torchvision's loader
    assert found.shape == (6, 9, channels)
    assert np.array_equal(np.broadcast_to(found, (6, 9, 3)), loaded)
    assert said == FINE


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (np.array([[0, 257, 128, 129], [65535, 65278, 65406, 65407]], np.uint16), DEEP),
        (np.array([[0, 257, 128, 129], [4095, 3000, 2, 1]], np.uint16), DARK),
    ],
)
@pytest.mark.parametrize("kind", ["PNG", "TIFF", "PPM"])
def test_sixteen_bits_become_eight_and_white_stays_white(data: NDArray[np.uint16], said: int, kind: str) -> None:
    bytes_ = encoded(Image.fromarray(data), kind)
    image = open_image(bytes_)
    assert n_channels(image) == 1
    found, told = decode(image, None)
    assert found[..., 0].tolist() == np.round(data / 257).astype(int).tolist()
    assert told == said
    assert n_channels(open_image(bytes_)) == 1


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG", "TIFF"])
def test_of_an_animation_the_first_frame(kind: str) -> None:
    frames = [Image.new("RGB", (8, 8), colour) for colour in ("red", "blue", "lime")]
    options = {"lossless": True} if kind == "WEBP" else {}
    data = encoded(frames[0], kind, save_all=True, append_images=frames[1:], **options)
    assert Image.open(io.BytesIO(data)).n_frames == 3
    assert decoded(data)[0, 0].tolist() == [255, 0, 0]
