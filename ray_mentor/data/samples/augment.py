"""Random changes to training images that keep their label."""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional as F

Images = Float[Tensor, "batch channels height width"]


def flip_shift(images: Images, generator: torch.Generator) -> Images:
    """Mirrors each image with probability 1/2 and shifts it by up to 1/8 of each side, uniformly.

    What a shift uncovers is zero, the mean colour of a normalised image: the usual "pad 4 and crop"
    of CIFAR (He et al. 2016, section 4.2) at any size.

    Args:
        images: normalised images, on any device.
        generator: the only source of randomness; two equal generators give equal images.
    """
    height, width = images.shape[-2:]
    y_pad, x_pad = height // 8, width // 8
    padded = F.pad(images, (x_pad, x_pad, y_pad, y_pad))
    rows = _shifted(len(images), height, y_pad, generator)
    columns = _mirrored(_shifted(len(images), width, x_pad, generator), generator)
    batch = torch.arange(len(images))
    # Index tensors around the channels' slice put the channels last.
    index = [part.to(images.device) for part in (batch[:, None, None], rows[:, :, None], columns[:, None, :])]
    return padded[index[0], :, index[1], index[2]].permute(0, 3, 1, 2)


def _shifted(count: int, side: int, pad: int, generator: torch.Generator) -> Int[Tensor, "batch side"]:
    start = torch.randint(0, 2 * pad + 1, (count, 1), generator=generator, device=generator.device)
    return start + torch.arange(side, device=generator.device)


def _mirrored(columns: Int[Tensor, "batch side"], generator: torch.Generator) -> Int[Tensor, "batch side"]:
    mirror = torch.randint(0, 2, (len(columns), 1), generator=generator, device=generator.device)
    return torch.where(mirror.bool(), columns.flip(1), columns)
