"""timm's models for classes of images: ``timm:NAME``."""

from __future__ import annotations

from typing import Any

import timm
from torch import nn

from ray_mentor.students.images import channels_of


def names() -> list[str]:
    """Of all that there are."""
    found: list[str] = timm.list_models()
    return found


def is_there(name: str) -> bool:
    """Whether timm knows the name, which may say which pretrained params it is of."""
    return bool(timm.is_model(name))


def build(name: str, input_shape: tuple[int, ...], n_classes: int) -> nn.Module:
    """The model of this name with fresh params.

    Raises:
        UserError: the input is no image.
        Exception: whatever the model's own code says of so large an image.
    """
    channels = channels_of(f"timm:{name}", input_shape)
    about = timm.get_pretrained_cfg(name)
    size: dict[str, Any] = {"img_size": tuple(input_shape[1:])} if about is not None and about.fixed_input_size else {}
    made: nn.Module = timm.create_model(name, pretrained=False, num_classes=n_classes, in_chans=channels, **size)
    return made
