"""Random crops of images, mirrored at random: what training from scratch on photographs is usually shown."""

from __future__ import annotations

import math
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch
from jaxtyping import Bool, Int, Shaped
from torch import Tensor
from torch.nn import functional as F

AREA = 0.08, 1.0
"""Shares of an image's area that a crop takes, uniformly."""
RATIO = 3 / 4, 4 / 3
"""Of a crop's width to its height, uniformly in the logarithm."""
_TRIES = 10
_MOST_THREADS = 8

Boxes = Int[Tensor, "batch 4"]
"""Top, left, height and width of each crop."""


def flip_crop(
    images: Shaped[Tensor, "batch channels height width"], size: tuple[int, int], generator: torch.Generator
) -> Shaped[Tensor, "batch channels new_height new_width"]:
    """A random part of each image, resized to ``size`` and mirrored with probability 1/2.

    As torchvision's ``RandomResizedCrop`` and ``RandomHorizontalFlip`` with their defaults (Szegedy et al. 2015,
    section 6), drawn for one image at a time.

    Args:
        images: bytes or normalised, on any device.
        size: height and width.
        generator: the only source of randomness.
    """
    height, width = images.shape[2:]
    boxes = random_boxes(len(images), height, width, generator)
    mirrored = torch.randint(0, 2, (len(images),), generator=generator, device=generator.device).bool()
    return cropped(images, boxes, mirrored, size)


def random_boxes(count: int, height: int, width: int, generator: torch.Generator) -> Boxes:
    """What torchvision's ``RandomResizedCrop`` draws for images of this size.

    The first of ten draws of area and ratio that fits, at any place; else the largest part of a possible ratio, in the
    middle.
    """
    shares, ratios, tops, lefts = torch.rand(
        (4, count, _TRIES), generator=generator, device=generator.device, dtype=torch.float64
    ).cpu()
    areas = height * width * (AREA[0] + (AREA[1] - AREA[0]) * shares)
    ratios = torch.exp(math.log(RATIO[0]) + math.log(RATIO[1] / RATIO[0]) * ratios)
    heights, widths = (torch.sqrt(each).round() for each in (areas / ratios, areas * ratios))
    fits = (heights > 0) & (heights <= height) & (widths > 0) & (widths <= width)
    tops, lefts = (tops * (height - heights + 1)).floor(), (lefts * (width - widths + 1)).floor()
    drawn = torch.stack([tops, lefts, heights, widths], dim=-1)
    first = drawn[torch.arange(count), fits.int().argmax(1)]
    return torch.where(fits.any(1, keepdim=True), first, _in_the_middle(height, width)).long()


def _in_the_middle(height: int, width: int) -> Tensor:
    new_height, new_width = height, width
    if width / height < RATIO[0]:
        new_height = round(width / RATIO[0])
    elif width / height > RATIO[1]:
        new_width = round(height * RATIO[1])
    parts = (height - new_height) // 2, (width - new_width) // 2, new_height, new_width
    return torch.tensor(parts, dtype=torch.float64)


def cropped(
    images: Shaped[Tensor, "batch channels height width"],
    boxes: Boxes,
    mirrored: Bool[Tensor, " batch"],
    size: tuple[int, int],
) -> Shaped[Tensor, "batch channels new_height new_width"]:
    """Each image's box, resized (bilinear, antialiased), and mirrored where it is said so; channels last in memory."""
    made = torch.empty((len(images), *size, images.shape[1]), dtype=images.dtype, device=images.device)
    fill = _fill_bytes if images.dtype == torch.uint8 and images.device.type == "cpu" else _fill
    fill(made, images.permute(0, 2, 3, 1), boxes.tolist())
    turned = mirrored.to(images.device)
    made[turned] = made[turned].flip(2)
    return made.permute(0, 3, 1, 2)


def _fill(made: Tensor, images: Tensor, boxes: list[list[int]]) -> None:
    for place, (top, left, height, width) in enumerate(boxes):
        part = _resized(images[place, top : top + height, left : left + width].float(), made.shape[1:3])
        made[place] = part if made.dtype == torch.float32 else part.round()


def _fill_bytes(made: Tensor, images: Tensor, boxes: list[list[int]]) -> None:
    """In threads; what they copy, NumPy does, since of PyTorch each would start as many threads again."""
    pixels, filled = images.numpy(), made.numpy()

    def fill(places: range) -> None:
        for place in places:
            top, left, height, width = boxes[place]
            part = np.ascontiguousarray(pixels[place, top : top + height, left : left + width])
            filled[place] = _resized(torch.from_numpy(part), made.shape[1:3]).numpy()

    threads = min(_MOST_THREADS, torch.get_num_threads())
    shares = [range(start, len(boxes), threads) for start in range(threads)]
    if threads == 1:
        fill(shares[0])
        return
    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(fill, shares))


def _resized(part: Tensor, size: Sequence[int]) -> Tensor:
    """Height, width and channels, as they come and as they go."""
    planes = F.interpolate(part.permute(2, 0, 1)[None], size=list(size), mode="bilinear", antialias=True)
    return planes[0].permute(1, 2, 0)
