"""The precision of a student's forward passes: of one that ran, so that a later one runs alike; or of all of them."""

from __future__ import annotations

import dataclasses
import functools
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_map


@dataclass(frozen=True)
class Precision:
    """Autocast as it was at some moment.

    Attributes:
        device_type: the student's, e.g. "cuda".
        autocast: the type that autocast ran in; None where it was off.
    """

    device_type: str
    autocast: torch.dtype | None

    @staticmethod
    def now(device: torch.device) -> Precision:
        """What is on at this moment, for modules on ``device``."""
        on = torch.is_autocast_enabled(device.type)
        return Precision(device.type, torch.get_autocast_dtype(device.type) if on else None)

    @property
    def without_float16(self) -> Precision:
        """Off where it was on in float16, whose smallest number is 6e-8."""
        return dataclasses.replace(self, autocast=None if self.autocast == torch.float16 else self.autocast)

    def again(self) -> torch.autocast:
        """A context in which it is on, or off, again. Without autocast's cache: params differ between passes."""
        return torch.autocast(self.device_type, self.autocast, enabled=self.autocast is not None, cache_enabled=False)


def in_bf16(student: nn.Module) -> nn.Module:
    """The same module; its forward runs under bfloat16 autocast, and gives float32 to whoever works with its outputs.

    All passes do, whoever calls: training, meta gradient, influences, measurements. Params and buffers stay as they
    are.
    """
    forward = student.forward

    @functools.wraps(forward)
    def wrapped(*positional: Any, **named: Any) -> Any:
        device = next(student.parameters()).device.type
        with torch.autocast(device, torch.bfloat16, cache_enabled=False):
            outputs = forward(*positional, **named)
        return tree_map(_wide, outputs)

    student.forward = wrapped
    return student


def _wide(value: Any) -> Any:
    return value.float() if isinstance(value, Tensor) and value.dtype == torch.bfloat16 else value
