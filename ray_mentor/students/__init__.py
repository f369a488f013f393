"""Reference students, by name. Each is a ``body`` that ends in flat features and a linear ``head``."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from types import MappingProxyType

import torch
from torch import nn

from ray_mentor.errors import UserError, one_of
from ray_mentor.students.cnn import CNN
from ray_mentor.students.mlp import MLP
from ray_mentor.students.resnet import ResNet
from ray_mentor.students.wide_resnet import WideResNet

__all__ = ["CNN", "MLP", "STUDENTS", "ResNet", "WideResNet", "make_student"]

Builder = Callable[[tuple[int, ...], int], nn.Module]


def _mlp(input_shape: tuple[int, ...], n_classes: int) -> nn.Module:
    return MLP(math.prod(input_shape), n_classes)


def _cnn(input_shape: tuple[int, ...], n_classes: int) -> nn.Module:
    return CNN(_n_channels("cnn", input_shape, min_side=8), n_classes)


def _resnet32(input_shape: tuple[int, ...], n_classes: int) -> nn.Module:
    return ResNet(_n_channels("resnet32", input_shape, min_side=4), n_classes, depth=32)


def _wrn_28_10(input_shape: tuple[int, ...], n_classes: int) -> nn.Module:
    return WideResNet(_n_channels("wrn-28-10", input_shape, min_side=4), n_classes, depth=28, widen=10)


STUDENTS: Mapping[str, Builder] = MappingProxyType(
    {"mlp": _mlp, "cnn": _cnn, "resnet32": _resnet32, "wrn-28-10": _wrn_28_10}
)
"""Name → (input shape of one sample, number of classes) → student."""


def make_student(name: str, input_shape: tuple[int, ...], n_classes: int) -> nn.Module:
    """Builds a student with fresh params, drawn from PyTorch's global random state.

    Args:
        name: a key of :data:`STUDENTS`.
        input_shape: of one sample: (channels, height, width), or any shape for the mlp.
        n_classes: number of logits, >= 2.

    Raises:
        UserError: an unknown name, fewer than 2 classes, or an input shape that the student cannot take.
    """
    one_of(name, STUDENTS, "student")
    if n_classes < 2:
        raise UserError(f"n_classes is {n_classes!r}, but a student needs at least 2; check the label column")
    if not input_shape or any(size < 1 for size in input_shape):
        raise UserError(f"the input has shape {input_shape}, but every size must be at least 1; check the features")
    # 4-d params only; convolutions are 1.4 to 1.8 times as fast (measured on CPUs)
    return STUDENTS[name](input_shape, n_classes).to(memory_format=torch.channels_last)


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
