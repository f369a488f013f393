"""What a trained student is fed: how raw inputs become what its module takes."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ray_mentor.data.samples.inputs import AbstractArrayInputs, FeatureInputs, ImageInputs
from ray_mentor.data.samples.samples import Samples
from ray_mentor.data.samples.texts.inputs import TextInputs, text_hashes
from ray_mentor.data.samples.texts.plain import ByteInputs
from ray_mentor.data.samples.texts.tokens import Tokens
from ray_mentor.errors import UserError

IMAGES, FEATURES, TEXTS, BYTES, OWN = "images", "features", "texts", "bytes", "own"
"""Kinds of input: uint8 pixels (N, H, W, C); float32 features (N, F); texts, as token ids (N, L) padded behind; plain
text, as uint8 bytes (N, T); what a user's own data set gives.
"""


@dataclass(frozen=True)
class Input:
    """What a student is fed.

    Attributes:
        kind: images, features, texts, bytes or own.
        shape: of one model input, e.g. (3, 32, 32) or (64,).
        names: of the features, in order; empty where they have none. Of texts, their column.
        mean: a number a channel or feature, subtracted from what is given (of images from pixel/255); empty for own.
        std: likewise; what is left is divided by it.
        dtype: of what the model is fed.
        resize: of images of any size: what the shorter side is resized to, before the middle is cropped to ``shape``.
            None: they have that size.
        most: of texts: tokens at most, special ones counted in.
        pad: of texts: the id of padding.
        tokenizer: of texts: the files of their tokenizer, which lie beside, and the SHA-256 of each.
        tokens: of texts: that tokenizer; None where it is not at hand.
    """

    kind: str
    shape: tuple[int, ...]
    names: tuple[str, ...] = ()
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()
    dtype: str = "float32"
    resize: int | None = None
    most: int | None = None
    pad: int | None = None
    tokenizer: Mapping[str, str] = field(default_factory=dict)
    tokens: Tokens | None = field(default=None, repr=False, compare=False)

    @staticmethod
    def of(samples: Samples, names: Sequence[str] = ()) -> Input:
        """That of a training split.

        Args:
            names: of its features.
        """
        inputs, shape = samples.inputs, tuple(samples.inputs.shape)
        if isinstance(inputs, TextInputs):
            column = () if inputs.read is None else (inputs.read.column,)
            return Input(TEXTS, shape, column, dtype="int64").with_tokens(inputs.tokens)
        if isinstance(inputs, ByteInputs):
            return Input(BYTES, shape, dtype="uint8")
        if not isinstance(inputs, AbstractArrayInputs):
            return Input(OWN, shape, dtype=str(inputs.dtype).removeprefix("torch."))
        mean, std = (tuple(map(float, value)) for value in inputs.scale)
        if not isinstance(inputs, ImageInputs):
            return Input(FEATURES, shape, tuple(names), mean, std)
        resize = None if inputs.side is None else inputs.values.shape[1]
        return Input(IMAGES, shape, tuple(names), mean, std, resize=resize)

    def with_tokens(self, tokens: Tokens) -> Input:
        """The same with a tokenizer."""
        digests = {name: hashlib.sha256(content).hexdigest() for name, content in tokens.files}
        return dataclasses.replace(self, most=tokens.most, pad=tokens.pad, tokenizer=digests, tokens=tokens)

    def fed(self, raw: Tensor) -> Tensor:
        """What the model is fed of raw inputs; the caller's memory is not written to.

        Args:
            raw: uint8 (N, H, W, C), features (N, F), token ids (N, L), or what a data set of the user's gives.

        Raises:
            UserError: another shape, or another type than bytes for images.
        """
        self.check(raw)
        if self.kind in (OWN, TEXTS, BYTES):
            return raw.to(getattr(torch, self.dtype))
        if self.kind == IMAGES:
            return self.inputs(np.empty((0, *self.stored_shape), np.uint8)).fed(raw)
        return self.inputs(np.empty((0, *self.shape), np.float32)).fed(raw.to(torch.float32, copy=True))

    def inputs(self, values: Any) -> AbstractArrayInputs:
        """Raw values, in memory or elsewhere, that come scaled as in training."""
        scale = np.array(self.mean, np.float32), np.array(self.std, np.float32)
        return ImageInputs(values, scale) if self.kind == IMAGES else FeatureInputs(values, scale)

    def content_hashes(self, stored: Any) -> NDArray[np.bytes_]:
        """A digest of each of some inputs as a run holds them."""
        if self.kind != TEXTS:
            return self.inputs(stored).content_hashes()
        assert self.pad is not None
        return text_hashes(stored, self.pad)

    @property
    def stored_shape(self) -> tuple[int, ...]:
        """Of one raw input."""
        return (*self.shape[1:], self.shape[0]) if self.kind == IMAGES else self.shape

    def check(self, raw: Tensor) -> None:
        """Raises a UserError unless these are raw inputs of this student."""
        if self.kind == TEXTS:
            whole = raw.ndim == 2 and not (raw.is_floating_point() or raw.is_complex())
            if not whole or raw.shape[1] > (self.most or 0):
                raise UserError(
                    f"the inputs are {raw.dtype} of shape {tuple(raw.shape)}, but the student takes token ids "
                    f"(N, {self.most} at most); give texts as strings"
                )
            return
        if self.kind != OWN and tuple(raw.shape[1:]) != self.stored_shape:
            raise UserError(
                f"the inputs have shape {tuple(raw.shape)}, but the student takes {self} of shape "
                f"(N, {', '.join(map(str, self.stored_shape))}){self._fix}"
            )
        if self.kind == IMAGES and raw.dtype != torch.uint8:
            kind = str(raw.dtype).removeprefix("torch.")
            raise UserError(f"the images are {kind}, but the student takes pixels as uint8, 0 to 255; convert them")

    @property
    def _fix(self) -> str:
        if self.resize is None:
            return ""
        return (
            f"; Student.prepare(FILE) makes one: the shorter side resized to {self.resize}, and the middle "
            f"{self.shape[2]}×{self.shape[1]} cropped"
        )

    def __str__(self) -> str:
        names = {IMAGES: "uint8 images", FEATURES: "features", TEXTS: "token ids", BYTES: "bytes of plain text"}
        return names.get(self.kind, "inputs")
