"""Random changes to training images that keep their label."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from ray_mentor.core.student.random_state import untouched
from ray_mentor.data.samples.inputs import AbstractInputs, ImageInputs
from ray_mentor.errors import UserError

Images = Float[Tensor, "batch channels height width"]


def _rand_augment() -> Any:
    from torchvision.transforms.v2 import RandAugment  # noqa: PLC0415 - seconds, for those who ask for it alone

    return RandAugment(num_ops=2, magnitude=9)


def _trivial_augment() -> Any:
    from torchvision.transforms.v2 import TrivialAugmentWide  # noqa: PLC0415

    return TrivialAugmentWide()


POLICIES: dict[str, Callable[[], Callable[[Any], Any]]] = {
    "randaugment": _rand_augment,
    "trivialaugment": _trivial_augment,
}
"""torchvision's, which take bytes and draw for one image at a time: RandAugment (Cubuk et al. 2020) with n = 2 and
m = 9, TrivialAugment (Müller & Hutter 2021), which has no setting."""


def augmented(
    name: str,
    images: Images,
    scale: tuple[NDArray[np.float32], NDArray[np.float32]] | None,
    generator: torch.Generator,
) -> Images:
    """Flipped and shifted, and then, where it is named, changed by one of :data:`POLICIES`.

    Args:
        name: flip-shift, or one of :data:`POLICIES`.
        images: normalised images, on any device.
        scale: mean and standard deviation by channel that they were normalised with, of pixels from 0 to 1; None
            where no policy is named.
        generator: the only source of randomness.
    """
    moved = flip_shift(images, generator)
    if name not in POLICIES:
        return moved
    assert scale is not None
    mean, std = (torch.from_numpy(part.copy()).to(moved.device).reshape(-1, 1, 1) for part in scale)
    pixels = (255 * (moved * std + mean)).round().clamp(0, 255).to("cpu", torch.uint8)
    policy = POLICIES[name]()
    seed = int(torch.randint(2**62, (1,), generator=generator, device=generator.device))
    with untouched(torch.device("cpu")):
        torch.default_generator.manual_seed(seed)
        changed = torch.stack([policy(image) for image in pixels])
    fed = (changed.to(moved.device, torch.float32) / 255 - mean) / std
    return fed.contiguous(memory_format=torch.channels_last) if _is_channels_last(images) else fed


def check_are_pixels(name: str, *inputs: AbstractInputs) -> None:
    """Refuses images that a user's data set hands over as it likes: nobody knows what of them black is.

    Raises:
        UserError: naming the policy.
    """
    for each in inputs:
        if not isinstance(each, ImageInputs):
            raise UserError(
                f"augment is {name!r}, which changes pixels from 0 to 255, but a data set of your own gives numbers of "
                "any meaning; let the data set augment its images itself, and leave augment out"
            )


def _is_channels_last(images: Images) -> bool:
    return images.is_contiguous(memory_format=torch.channels_last)


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
