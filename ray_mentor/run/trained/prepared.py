"""One image of any kind, brought to what a trained student is fed."""

from __future__ import annotations

from os import PathLike
from pathlib import Path

import numpy as np
from PIL import Image

from ray_mentor.data.readers.pictures.decode import (
    BrokenImageError,
    OtherImageError,
    Pixels,
    by,
    decode,
    open_image,
)
from ray_mentor.data.samples.inputs import middle
from ray_mentor.errors import UserError, shown
from ray_mentor.run.trained.about import IMAGES, Input


def prepared(fed: Input, image: str | PathLike[str] | Image.Image) -> Pixels:
    """Pixels as :meth:`Student.prepare <ray_mentor.run.trained.student.Student.prepare>` gives them."""
    if fed.kind != IMAGES:
        raise UserError(f"the student takes {fed}, which have nothing to prepare; give them to predict as they are")
    what = "the image" if isinstance(image, Image.Image) else f"the image {shown(str(image))}"
    try:
        opened = image.copy() if isinstance(image, Image.Image) else open_image(Path(image).read_bytes())
        pixels, _ = decode(opened, fed.resize)
    except OSError as error:
        raise UserError(f"{what} can't be read ({error.strerror or error}); name a file that is there") from error
    except (BrokenImageError, OtherImageError) as error:
        raise UserError(f"{what} {error}") from error
    height, width, channels = fed.stored_shape
    if fed.resize is not None:
        pixels = middle(pixels[None], height, width)[0]
    elif pixels.shape[:2] != (height, width):
        found = by((pixels.shape[1], pixels.shape[0]))
        raise UserError(
            f"{what} is {found}, but the student was trained on images of {by((width, height))} (width×height) and "
            "resizes none; bring it to that"
        )
    if pixels.shape[2] > channels:
        if (pixels != pixels[..., :1]).any():
            raise UserError(f"{what} is in colour, but the student was trained on grey images; make it grey first")
        pixels = pixels[..., :1]
    return np.ascontiguousarray(np.broadcast_to(pixels, (height, width, channels)))
