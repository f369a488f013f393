"""What encoded images are brought to when they are decoded."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from dataclasses import dataclass

from ray_mentor.config import DataConfig
from ray_mentor.data.samples.inputs import ImageInputs


@dataclass(frozen=True)
class Form:
    """What encoded images become.

    Attributes:
        side: of the square that the model is fed; None: images are fed whole, and must be of one size.
        stored: side of the square that is kept of each, ``side`` or with a margin for crops; None: as ``side``.
        skip_broken: whether images that can't be decoded are left out instead of being an error.
        is_settled: whether the size follows from what came before, so that errors offer no option for it.
    """

    side: int | None = None
    stored: int | None = None
    skip_broken: bool = False
    is_settled: bool = False

    @classmethod
    def of(cls, config: DataConfig) -> Form:
        """As the settings say, with a margin: 256 for 224, as is usual (torchvision's presets, ImageNet's 10 crops)."""
        side = config.image_size
        return cls(side, None if side is None else round(side * 8 / 7), config.skip_broken)

    @classmethod
    def settled(cls, side: int | None, stored: int | None, config: DataConfig) -> Form:
        """As a student was trained on; whether broken images are left out is the settings' to say."""
        return cls(side, stored, config.skip_broken, is_settled=True)

    def fitted(self, sizes: Iterable[tuple[int, int]]) -> Form:
        """Without a margin where these sizes (width, height), some of each split's, are the model's already."""
        if self.side is None or not all(size == (self.side, self.side) for size in sizes):
            return self
        return dataclasses.replace(self, stored=self.side)

    def like(self, known: ImageInputs) -> Form:
        """As other images have been brought to: for more of them, to be compared with these or fed to their model."""
        return dataclasses.replace(self, side=known.side, stored=None if known.side is None else known.values.shape[1])


AS_THEY_ARE = Form()
