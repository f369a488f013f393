"""Random changes to training images that keep their label."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int, Shaped, UInt8
from torch import Tensor
from torch.nn import functional as F

from ray_mentor.config.groups.data import AUGMENTS
from ray_mentor.core.student.random_state import untouched
from ray_mentor.data.samples.as_stored import AsStored, Storing
from ray_mentor.data.samples.crops import flip_crop
from ray_mentor.data.samples.draws import seeded
from ray_mentor.data.samples.inputs import AbstractInputs, ImageInputs
from ray_mentor.data.samples.samples import Samples
from ray_mentor.errors import UserError, shown
from ray_mentor.functions import explained, named_function, source_of

Images = Float[Tensor, "batch channels height width"]
Pixels = UInt8[Tensor, "batch channels height width"]

_CROP = "flip-crop"
_KIND, _EXAMPLE = "augment", "def augment(image): ... takes and returns a uint8 tensor (C, H, W)"
_AXES = 3


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


@dataclass(frozen=True)
class Augment:
    """A change by its name; it can be pickled.

    Attributes:
        name: one of :data:`~ray_mentor.config.groups.data.AUGMENTS`, or MODULE:FUNCTION or FILE.py:FUNCTION.
        source: of the function's file, which need not be there where images are changed.
    """

    name: str
    source: bytes | None = None

    @classmethod
    def of(cls, name: str) -> Augment:
        """The change of this name.

        Raises:
            UserError: a file that is not there.
        """
        return cls(name, None if name in AUGMENTS else source_of(name, _KIND))

    def check(self, train: AbstractInputs, trusted: AbstractInputs) -> None:
        """Says what the inputs, or a function of the user's own, are not fit for; tries that on one image.

        Raises:
            UserError: no images, pixels of no known meaning, or a function that fails.
        """
        if self.name == "none":
            return
        if len(train.shape) != _AXES:
            raise UserError(f"augment is {self.name!r}, but it needs images, and the input has shape {train.shape}")
        if not self._is_of_pixels:
            return
        _check_are_pixels(self.name, train, trusted)
        if self.name not in POLICIES:
            self(train.take(np.arange(1)), train, torch.Generator().manual_seed(0))

    def before(self, train: Samples, trusted: Samples | None) -> tuple[Samples, Samples | None]:
        """Training samples, and those trusted ones that are trained on, as the change takes them.

        Crops are taken of images as they are stored, where all are stored alike.
        """
        both = [samples for samples in (train, trusted) if samples is not None]
        stored = [samples.inputs for samples in both if isinstance(samples.inputs, Storing)]
        if self.name != _CROP or len(stored) < len(both) or len({each.stored_shape for each in stored}) > 1:
            return train, trusted
        return as_stored(train), None if trusted is None else as_stored(trusted)

    def __call__(
        self,
        images: Shaped[Tensor, "batch channels height width"],
        like: AbstractInputs,
        generator: torch.Generator,
    ) -> Images:
        """Images changed as the name says, on their device.

        Args:
            images: as :meth:`before` gives them: normalised, or bytes as they are stored.
            like: inputs that say how images are normalised, and their size.
            generator: the only source of randomness; two equal generators give equal images.
        """
        if self.name == _CROP:
            return _crops(images, like, generator)
        moved = images if self._is_own else flip_shift(images, generator)
        if not self._is_of_pixels:
            return moved
        assert isinstance(like, ImageInputs)
        scale = like.scale
        mean, std = (torch.from_numpy(part.copy()).to(moved.device).reshape(-1, 1, 1) for part in scale)
        pixels = (255 * (moved * std + mean)).round().clamp(0, 255).to("cpu", torch.uint8)
        seed = int(torch.randint(2**62, (1,), generator=generator, device=generator.device))
        changed = self._changed(pixels, seed)
        fed = (changed.to(moved.device, torch.float32) / 255 - mean) / std
        return fed.contiguous(memory_format=torch.channels_last) if _is_channels_last(images) else fed

    @property
    def _is_own(self) -> bool:
        return self.name not in AUGMENTS

    @property
    def _is_of_pixels(self) -> bool:
        return self.name in POLICIES or self._is_own

    def _changed(self, pixels: Pixels, seed: int) -> Pixels:
        if not self._is_own:
            policy = POLICIES[self.name]()
            with untouched(torch.device("cpu")):
                torch.default_generator.manual_seed(seed)
                return torch.stack([policy(image) for image in pixels])
        function = named_function(self.name, self.source, _KIND, _EXAMPLE)
        with seeded((seed,)), explained(f"augment {shown(self.name)} fails"):
            found = [function(image) for image in pixels]
        return torch.stack([self._checked(image, pixels) for image in found])

    def _checked(self, image: Any, pixels: Pixels) -> Tensor:
        if isinstance(image, Tensor) and image.shape == pixels.shape[1:] and image.dtype == torch.uint8:
            return image.cpu()
        what = f"a {image.dtype} of shape {tuple(image.shape)}" if isinstance(image, Tensor) else shown(image)
        raise UserError(
            f"augment {shown(self.name)} returns {what}, but it must return what it was given, a torch.uint8 tensor of "
            f"shape {tuple(pixels.shape[1:])}; mend it"
        )


UNCHANGED = Augment("none")


def as_stored(samples: Samples) -> Samples:
    """The same samples with their images as they are stored: bytes, and whole where they have a margin."""
    return dataclasses.replace(samples, inputs=AsStored(samples.inputs))


def _crops(images: Tensor, like: AbstractInputs, generator: torch.Generator) -> Images:
    if images.dtype != torch.uint8:
        height, width = images.shape[2:]
        return flip_crop(images, (height, width), generator)
    assert isinstance(like, ImageInputs)
    _, height, width = like.shape
    return like.fed(flip_crop(images, (height, width), generator).permute(0, 2, 3, 1))


def _check_are_pixels(name: str, *inputs: AbstractInputs) -> None:
    """Refuses images that a user's data set hands over as it likes: nobody knows what of them black is."""
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
