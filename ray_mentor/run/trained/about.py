"""What ``student.json`` says: how a trained student is built, and what it is fed."""

from __future__ import annotations

import dataclasses
import functools
import inspect
import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Any

import torch
from torch import nn

from ray_mentor.data.samples.inputs import digest
from ray_mentor.data.samples.labels import MOST_CLASSES
from ray_mentor.errors import UserError, one_of, shown
from ray_mentor.run.checkpoint.resume import started_with
from ray_mentor.run.directory import RunDirectory
from ray_mentor.run.trained.fed import BYTES, FEATURES, IMAGES, OWN, TEXTS, Input
from ray_mentor.run.trained.files import ABOUT
from ray_mentor.students import make_student, runs_code

FORMAT_VERSION = 1

_MOST_BYTES = 2**26  # of student.json: a hundred thousand classes with long names

_IMAGE_AXES = 3
_MOST_NUMBERS = 2**28  # of an input: more is a mistake, or damage


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
        bare = dataclasses.replace(self, input=dataclasses.replace(self.input, tokens=None))
        table = dataclasses.asdict(bare)
        del table["input"]["tokens"]
        if self.input.kind != TEXTS:
            for name in _OF_TEXTS:
                del table["input"][name]
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


def read_about(directory: RunDirectory) -> About:
    """What a run's folder says of its trained student.

    Raises:
        UserError: no run, none that has one, or damage.
    """
    written = directory.read(ABOUT, at_most=_MOST_BYTES)
    if written is not None:
        return About.from_bytes(written, f"{directory.path}/{ABOUT}")
    started_with(directory, "give the folder of a finished run, e.g. runs/first")
    raise UserError(
        f"{directory.path} has no trained student ({ABOUT}), which a run writes when it ends; let it go on to its end: "
        "--resume"
    )


_OF_TEXTS = ("most", "pad", "tokenizer")
_FED_AS = {
    IMAGES: "(pixel / 255 - mean) / std of uint8 pixels (N, H, W, C), as float32 (N, C, H, W)",
    FEATURES: "(feature - mean) / std, as float32 (N, F), features in the order of names",
    TEXTS: "token ids that the tokenizer beside makes of a text, cut to most, as int64 (N, L), with pad behind them",
    BYTES: "bytes of a text, as uint8 (N, T); each place's logits are of the byte behind it",
    OWN: "as the data set gives it",
}

_RESIZED = (
    "; before that the shorter side is resized to resize (bilinear, antialiased), the middle resize×resize cropped, "
    "and of that the middle of shape"
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


def name_of(student: Callable[[], nn.Module]) -> str | None:
    """The name by which :func:`~ray_mentor.students.make_student` builds it, where that is what does; else None."""
    return (build_of(student) or {}).get("name")


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
    is_array = fed["kind"] in (IMAGES, FEATURES)
    expected = shape[0] if is_array else 0
    if math.prod(shape) > _MOST_NUMBERS or any(len(each) != expected for each in scale.values()):
        raise ValueError(
            f"an input of shape {shape} with {len(scale['mean'])} means and {len(scale['std'])} deviations"
        )
    names = tuple(map(str, fed["names"]))
    if names and is_array and len(names) != expected:
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
    if build is not None and fed["kind"] == TEXTS:
        build["input_shape"] = list(shape)  # however long
    if build is not None and (tuple(build["input_shape"]), build["n_classes"]) != (shape, len(classes)):
        raise ValueError("a student for other inputs or classes than it names")
    return About(
        run=str(table["run"]),
        build=build,
        classes=classes,
        input=dataclasses.replace(
            Input(fed["kind"], shape, names, scale["mean"], scale["std"], str(fed["dtype"]), resize), **_of_texts(fed)
        ),
        students=_size(table["students"]),
        epochs=int(table["epochs"]),
        finished=bool(table["finished"]),
        files={str(name): dict(known) for name, known in table["files"].items()},
        versions={str(name): str(version) for name, version in table["versions"].items()},
        code=None if table.get("code") is None else str(table["code"]),
    )


def _of_texts(fed: Mapping[str, Any]) -> dict[str, Any]:
    if fed["kind"] != TEXTS:
        return {}
    tokenizer = {str(name): str(digest) for name, digest in fed["tokenizer"].items()}
    strange = next((name for name in tokenizer if not _is_file_name(name)), None)
    if strange is not None:
        raise ValueError(f"a tokenizer in {shown(strange)}")
    return {"most": _size(fed["most"]), "pad": int(fed["pad"]), "tokenizer": tokenizer}


def _is_file_name(name: str) -> bool:
    """Whether it names a file of the folder itself."""
    return PurePosixPath(name).name == name and name not in ("", "..") and not {"\\", "\0"} & {*name}


def _size(value: Any) -> int:
    if type(value) is not int or value < 1:
        raise ValueError(f"a size of {shown(value)}")
    return value
