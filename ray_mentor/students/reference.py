"""The students that come with the package, by name. Each is a ``body`` that ends in flat features and a ``head``."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from types import MappingProxyType

from torch import nn

from ray_mentor.errors import UserError
from ray_mentor.students.byte_gpt import ByteGPT
from ray_mentor.students.cnn import CNN
from ray_mentor.students.mlp import MLP
from ray_mentor.students.resnet import ResNet
from ray_mentor.students.wide_resnet import WideResNet

Builder = Callable[[tuple[int, ...], int], nn.Module]


def _mlp(input_shape: tuple[int, ...], n_classes: int) -> nn.Module:
    return MLP(math.prod(input_shape), n_classes)


def _cnn(input_shape: tuple[int, ...], n_classes: int) -> nn.Module:
    return CNN(_n_channels("cnn", input_shape, min_side=8), n_classes)


def _resnet32(input_shape: tuple[int, ...], n_classes: int) -> nn.Module:
    return ResNet(_n_channels("resnet32", input_shape, min_side=4), n_classes, depth=32)


def _wrn_28_10(input_shape: tuple[int, ...], n_classes: int) -> nn.Module:
    return WideResNet(_n_channels("wrn-28-10", input_shape, min_side=4), n_classes, depth=28, widen=10)


def _byte_gpt(input_shape: tuple[int, ...], n_classes: int) -> nn.Module:
    if len(input_shape) != 1 or n_classes != BYTES:
        raise UserError(
            f"student {BYTE_GPT} says which of {BYTES} bytes comes next in a text, but the inputs are of shape "
            f"{input_shape}, of {n_classes} classes; give plain text, --format text, or another --student"
        )
    return ByteGPT(input_shape[0])


BYTE_GPT, BYTES = "byte-gpt", 256

STUDENTS: Mapping[str, Builder] = MappingProxyType(
    {"mlp": _mlp, "cnn": _cnn, "resnet32": _resnet32, "wrn-28-10": _wrn_28_10, BYTE_GPT: _byte_gpt}
)
"""Name → (input shape of one sample, number of classes) → student."""


def _n_channels(student: str, input_shape: tuple[int, ...], min_side: int) -> int:
    """Returns the number of channels of an image shape that the student can halve down to a pixel."""
    if len(input_shape) != 3:
        raise UserError(
            f"student {student} needs images (channels, height, width), but the input has shape {input_shape}; use mlp"
        )
    channels, height, width = input_shape
    if min(height, width) < min_side:
        raise UserError(
            f"student {student} needs images of at least {min_side}×{min_side} pixels, "
            f"but the input has {height}×{width}; use mlp"
        )
    return channels
