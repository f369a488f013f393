"""A file of plain text as samples of bytes, for a student that says which byte comes next."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Int, UInt8
from numpy.typing import NDArray
from torch import Tensor

from ray_mentor.errors import UserError

CONTEXT = 128
"""Bytes that a student is shown at once, unless told otherwise."""


def text_windows(
    text: str | Path | bytes, context: int = CONTEXT
) -> tuple[UInt8[Tensor, "windows context"], Int[Tensor, "windows context"]]:
    """A text cut into windows of ``context`` + 1 bytes: the first of them, and the bytes that follow each.

    Windows share a byte: the last of one is the first of the next. What is left at the end is dropped. Any bytes are
    fine, also such as are no UTF-8.

    Args:
        text: a file, or the bytes themselves.

    Returns:
        Inputs (uint8) and labels (int64), as ``LearnedMixture`` takes a source.

    Raises:
        UserError: a file that can't be read, or a text shorter than a window.
    """
    what = "the text" if isinstance(text, bytes) else str(text)
    try:
        content = text if isinstance(text, bytes) else Path(text).read_bytes()
    except OSError as error:
        raise UserError(f"{what} can't be read ({error.strerror}); give a file of text") from error
    shown, following = windows_of(content, what, context)
    return torch.from_numpy(shown.copy()), torch.from_numpy(following.astype(np.int64))


def windows_of(content: bytes, what: str, context: int) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Of each window its first ``context`` bytes, and those that follow each, (N, T); both are views of the text.

    Args:
        what: the text is called in messages.

    Raises:
        UserError: a text shorter than a window.
    """
    whole = (len(content) - 1) // context
    if whole < 1:
        has = f"has {len(content)} bytes" if content else "is empty"
        raise UserError(f"{what} {has}, but a window has {context + 1} bytes; give a longer text")
    values = np.frombuffer(content, np.uint8)[: whole * context + 1]
    return values[:-1].reshape(whole, context), values[1:].reshape(whole, context)


def bits_per_byte(loss: float) -> float:
    """Of a mean cross-entropy in nats a byte."""
    return loss / math.log(2)
