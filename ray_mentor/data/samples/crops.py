"""Random crops of images, mirrored at random: what training from scratch on photographs is usually shown."""

from __future__ import annotations

import math
from concurrent.futures import ThreadPoolExecutor

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
    made = torch.empty((*images.shape[:2], *size), dtype=images.dtype, device=images.device)
    made = made.contiguous(memory_format=torch.channels_last)
    tasks = list(enumerate(zip(boxes.tolist(), mirrored.tolist(), strict=True)))

    def fill(some: list[tuple[int, tuple[list[int], bool]]]) -> None:
        for place, ((top, left, height, width), mirror) in some:
            part = _resized(images[place : place + 1, :, top : top + height, left : left + width], size)
            made[place] = part[0].flip(-1) if mirror else part[0]

    threads = min(_MOST_THREADS, torch.get_num_threads()) if images.device.type == "cpu" else 1
    if threads == 1:
        fill(tasks)
        return made
    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(fill, (tasks[start::threads] for start in range(threads))))
    return made


def _resized(part: Tensor, size: tuple[int, int]) -> Tensor:
    if part.dtype == torch.uint8 and part.device.type != "cpu":
        return _resized(part.float(), size).round().to(torch.uint8)
    return F.interpolate(part, size=size, mode="bilinear", antialias=True)
