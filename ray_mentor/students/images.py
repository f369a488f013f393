"""What models of images made elsewhere are asked for: their shape of input, and grey images."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from ray_mentor.errors import UserError

COLOURS = 3


def channels_of(student: str, input_shape: tuple[int, ...]) -> int:
    """How many channels the images have.

    Raises:
        UserError: the input is no image.
    """
    if len(input_shape) != 1 + 2:
        raise UserError(
            f"student {student} needs images (channels, height, width), but the input has shape {input_shape}; give "
            "images, or --student mlp"
        )
    return input_shape[0]


def fit_first_layer(student: nn.Module, channels: int) -> None:
    """Makes the first convolution, which takes colours, take images of so many channels.

    Its params are those of :func:`with_channels`.
    """
    if channels == COLOURS:
        return
    name, first = next((name, module) for name, module in student.named_modules() if isinstance(module, nn.Conv2d))
    fitted = nn.Conv2d(
        channels,
        first.out_channels,
        first.kernel_size,  # type: ignore[arg-type]  # pairs, as a layer holds them
        first.stride,  # type: ignore[arg-type]
        first.padding,  # type: ignore[arg-type]
        first.dilation,  # type: ignore[arg-type]
        first.groups,
        first.bias is not None,
        first.padding_mode,
    )
    with torch.no_grad():
        fitted.weight.copy_(with_channels(first.weight, channels))
        if fitted.bias is not None and first.bias is not None:
            fitted.bias.copy_(first.bias)
    student.set_submodule(name, fitted)


def with_channels(weight: Tensor, channels: int) -> Tensor:
    """A first convolution's weight (out, 3, height, width) for images of so many channels.

    For 1, the sum over colours: what it makes of a grey image is what it made of the same in three equal colours. For
    others, as in timm, the colours in turn, times 3/channels.
    """
    if channels == 1:
        return weight.sum(dim=1, keepdim=True)
    turns = math.ceil(channels / COLOURS)
    return weight.repeat(1, turns, 1, 1)[:, :channels] * (COLOURS / channels)
