"""What ``student.json`` says: how a trained student is built, and what it is fed."""

from __future__ import annotations

import dataclasses
import functools
import inspect
import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ray_mentor.data.samples.inputs import AbstractArrayInputs, FeatureInputs, ImageInputs, digest
from ray_mentor.data.samples.labels import MOST_CLASSES
from ray_mentor.data.samples.samples import Samples
from ray_mentor.errors import UserError, one_of, shown
from ray_mentor.students import make_student, runs_code

FORMAT_VERSION = 1

IMAGES, FEATURES, OWN = "images", "features", "own"
"""Kinds of input: uint8 pixels (N, H, W, C); float32 features (N, F); what a user's own data set gives."""

_IMAGE_AXES = 3
_MOST_NUMBERS = 2**28  # of an input: more is a mistake, or damage


@dataclass(frozen=True)
class Input:
    """What a student is fed.

    Attributes:
        kind: images, features or own.
        shape: of one model input, e.g. (3, 32, 32) or (64,).
        names: of the features, in order; empty where they have none.
        mean: a number a channel or feature, subtracted from what is given (of images from pixel/255); empty for own.
        std: likewise; what is left is divided by it.
        dtype: of what the model is fed.
        resize: of images of any size: what the shorter side is resized to, before the middle is cropped to ``shape``.
            None: they have that size.
    """

    kind: str
    shape: tuple[int, ...]
    names: tuple[str, ...] = ()
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()
    dtype: str = "float32"
    resize: int | None = None

    @staticmethod
    def of(samples: Samples, names: Sequence[str] = ()) -> Input:
        """That of a training split.

        Args:
            names: of its features.
        """
        inputs, shape = samples.inputs, tuple(samples.inputs.shape)
        if not isinstance(inputs, AbstractArrayInputs):
            return Input(OWN, shape, dtype=str(inputs.dtype).removeprefix("torch."))
        mean, std = (tuple(map(float, value)) for value in inputs.scale)
        if not isinstance(inputs, ImageInputs):
            return Input(FEATURES, shape, tuple(names), mean, std)
        resize = None if inputs.side is None else inputs.values.shape[1]
        return Input(IMAGES, shape, tuple(names), mean, std, resize=resize)

    def fed(self, raw: Tensor) -> Tensor:
        """What the model is fed of raw inputs; the caller's memory is not written to.

        Args:
            raw: uint8 (N, H, W, C), features (N, F), or what a data set of the user's gives.

        Raises:
            UserError: another shape, or another type than bytes for images.
        """
        self.check(raw)
        if self.kind == OWN:
            return raw.to(getattr(torch, self.dtype))
        if self.kind == IMAGES:
            return self.inputs(np.empty((0, *self.stored_shape), np.uint8)).fed(raw)
        return self.inputs(np.empty((0, *self.shape), np.float32)).fed(raw.to(torch.float32, copy=True))

    def inputs(self, values: Any) -> AbstractArrayInputs:
        """Raw values, in memory or elsewhere, that come scaled as in training."""
        scale = np.array(self.mean, np.float32), np.array(self.std, np.float32)
        return ImageInputs(values, scale) if self.kind == IMAGES else FeatureInputs(values, scale)

    @property
    def stored_shape(self) -> tuple[int, ...]:
        """Of one raw input."""
        return (*self.shape[1:], self.shape[0]) if self.kind == IMAGES else self.shape

    def check(self, raw: Tensor) -> None:
        """Raises a UserError unless these are raw inputs of this student."""
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
        return {IMAGES: "uint8 images", FEATURES: "features"}.get(self.kind, "inputs")


@dataclass(frozen=True)
class About:
    """A trained student.

    Attributes:
        run: the run's name.
        build: arguments of :func:`ray_mentor.students.make_student`; None: a builder of the user's own.
        classes: in order of the logits.
        input: what it is fed.
        students: 1, or 2 whose mean probability it says.
        epochs: that the run was to take.
        finished: whether it took them.
        files: name of a file of params to what is known of the student in it: ``epoch`` (from 1 on), ``sha256``,
            accuracies.
        versions: of what it was trained with.
        code: digest of the file of the user's own whose function builds it; None of others.
    """

    run: str
    build: Mapping[str, Any] | None
    classes: tuple[str, ...]
    input: Input
    students: int = 1
    epochs: int = 0
    finished: bool = False
    files: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    versions: Mapping[str, str] = field(default_factory=dict)
    code: str | None = None

    def to_bytes(self) -> bytes:
        """As ``student.json`` holds it."""
        table = dataclasses.asdict(self)
        told = {
            "builder": "the user's own" if self.build is None else "ray_mentor.students.make_student(**build)",
            "says": "softmax of the mean of both students' probabilities: log of it in evaluation mode"
            if self.students > 1
            else "softmax of its outputs, the logits",
            "input_is_fed_as": _FED_AS[self.input.kind] + (_RESIZED if self.input.resize else ""),
        }
        whole = {"format_version": FORMAT_VERSION, **told, **table}
        return as_lines(whole)

    @staticmethod
    def from_bytes(written: bytes, name: str) -> About:
        """Reads it; nothing that it names is run.

        Args:
            name: of the file, for the error.

        Raises:
            UserError: damage, or another format version.
        """
        try:
            table = json.loads(written)
            version = table["format_version"]
            if version == FORMAT_VERSION:
                return _checked(table)
        except (ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError) as error:
            said = f"{type(error).__name__}: {error}"
            raise UserError(f"{name} cannot be read ({said[:200]}); it is damaged: put it back") from error
        raise UserError(f"{name} has format version {shown(version)}, but this version reads {FORMAT_VERSION}")


_FED_AS = {
    IMAGES: "(pixel / 255 - mean) / std of uint8 pixels (N, H, W, C), as float32 (N, C, H, W)",
    FEATURES: "(feature - mean) / std, as float32 (N, F), features in the order of names",
    OWN: "as the data set gives it",
}

_RESIZED = (
    "; before that the shorter side is resized to resize (bilinear, antialiased), and the middle cropped to shape"
)


def as_lines(table: Mapping[str, Any]) -> bytes:
    """As JSON, a name a line."""
    lines = ",\n".join(f"  {json.dumps(name)}: {json.dumps(value)}" for name, value in table.items())
    return f"{{\n{lines}\n}}\n".encode()


def build_of(student: Callable[[], nn.Module]) -> dict[str, Any] | None:
    """The arguments of :func:`~ray_mentor.students.make_student`, where that is what builds a student; else None."""
    given = _given(student)
    if given is None:
        return None
    shape = list(given["input_shape"])
    return {"name": given["name"], "input_shape": shape, "n_classes": given["n_classes"]}


def code_of(student: Callable[[], nn.Module]) -> str | None:
    """A digest of the file whose function builds a student; None of other students."""
    given = _given(student) or {}
    source = given.get("source") if runs_code(str(given.get("name"))) else None
    source = source.encode() if isinstance(source, str) else source
    return None if source is None else digest(source).hex()


def _given(student: Callable[[], nn.Module]) -> dict[str, Any] | None:
    if not isinstance(student, functools.partial) or student.func is not make_student:
        return None
    return inspect.signature(make_student).bind(*student.args, **student.keywords).arguments


def _checked(table: Mapping[str, Any]) -> About:
    fed = table["input"]
    one_of(fed["kind"], _FED_AS, "kind of input")
    shape = tuple(map(_size, fed["shape"]))
    scale = {name: tuple(map(float, fed[name])) for name in ("mean", "std")}
    expected = 0 if fed["kind"] == OWN else shape[0]
    if math.prod(shape) > _MOST_NUMBERS or any(len(each) != expected for each in scale.values()):
        raise ValueError(
            f"an input of shape {shape} with {len(scale['mean'])} means and {len(scale['std'])} deviations"
        )
    names = tuple(map(str, fed["names"]))
    if names and len(names) != expected:
        raise ValueError(f"{len(names)} names of {expected} features")
    if not isinstance(getattr(torch, str(fed["dtype"]), None), torch.dtype):
        raise ValueError(f"a type {shown(fed['dtype'])}")
    resize = None if fed.get("resize") is None else _size(fed["resize"])
    if resize is not None and (len(shape) != _IMAGE_AXES or not max(shape[1:]) <= resize <= _MOST_NUMBERS):
        raise ValueError(f"images of shape {shape} that are resized to {resize}")
    classes = tuple(map(str, table["classes"]))
    if not 0 < len(classes) <= MOST_CLASSES:
        raise ValueError(f"{len(classes)} classes")
    build = None if table["build"] is None else {str(name): value for name, value in table["build"].items()}
    if build is not None and (tuple(build["input_shape"]), build["n_classes"]) != (shape, len(classes)):
        raise ValueError("a student for other inputs or classes than it names")
    return About(
        run=str(table["run"]),
        build=build,
        classes=classes,
        input=Input(fed["kind"], shape, names, **scale, dtype=str(fed["dtype"]), resize=resize),
        students=_size(table["students"]),
        epochs=int(table["epochs"]),
        finished=bool(table["finished"]),
        files={str(name): dict(known) for name, known in table["files"].items()},
        versions={str(name): str(version) for name, version in table["versions"].items()},
        code=None if table.get("code") is None else str(table["code"]),
    )


def _size(value: Any) -> int:
    if type(value) is not int or value < 1:
        raise ValueError(f"a size of {shown(value)}")
    return value
