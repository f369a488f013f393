"""Students by name: those of the package, torchvision's models, and what a function of the user's own builds."""

from __future__ import annotations

import difflib
import importlib
from typing import Any

import torch
from torch import nn

from ray_mentor.errors import UserError, listed, shown
from ray_mentor.extras import needing
from ray_mentor.functions import names_a_file
from ray_mentor.students import from_code
from ray_mentor.students.byte_gpt import ByteGPT
from ray_mentor.students.cnn import CNN
from ray_mentor.students.mlp import MLP
from ray_mentor.students.reference import BYTE_GPT, STUDENTS
from ray_mentor.students.resnet import ResNet
from ray_mentor.students.wide_resnet import WideResNet

__all__ = [
    "CNN",
    "ByteGPT",
    "MLP",
    "STUDENTS",
    "ResNet",
    "WideResNet",
    "check_of_text",
    "check_student",
    "is_reference",
    "make_student",
    "runs_code",
    "source_of",
]

FAMILIES = {"torchvision": "ray", "timm": "timm", "hf": "hf"}
"""What stands before a colon where models of others are named, and the extra that they come with."""

FORMS = f"valid: {', '.join(STUDENTS)}, torchvision:NAME, timm:NAME, hf:FOLDER, MODULE:FUNCTION, FILE.py:FUNCTION"


def make_student(
    name: str, input_shape: tuple[int, ...], n_classes: int, *, source: bytes | str | None = None
) -> nn.Module:
    """Builds a student with fresh params, drawn from PyTorch's global random state.

    Args:
        name: a key of :data:`STUDENTS`, ``torchvision:NAME``, ``timm:NAME``, ``hf:FOLDER`` (or a name on the
            Hub), ``MODULE:FUNCTION`` or ``FILE.py:FUNCTION``.
        input_shape: of one sample: (channels, height, width), or any shape for the mlp.
        n_classes: number of logits, >= 2.
        source: what :func:`source_of` gave where the name was given, so that it can be built on another machine; None:
            it is read here.

    Raises:
        UserError: an unknown name, fewer than 2 classes, or an input shape that the student cannot take.
    """
    if n_classes < 2:
        check_student(name)
        raise UserError(f"n_classes is {n_classes!r}, but a student needs at least 2; check the label column")
    if not input_shape or any(size < 1 for size in input_shape):
        raise UserError(f"the input has shape {input_shape}, but every size must be at least 1; check the features")
    source = source.encode() if isinstance(source, str) else source
    # 4-d params only; convolutions are 1.4 to 1.8 times as fast (measured on CPUs)
    return _built(name, input_shape, n_classes, source).to(memory_format=torch.channels_last)


def check_student(name: str) -> None:
    """Refuses a name that no student has.

    Raises:
        UserError: the name, the nearest ones, and the forms that a name can have.
    """
    if name in STUDENTS:
        return
    family, _, member = name.partition(":")
    meant = difflib.get_close_matches(family, FAMILIES, n=1) if member else []
    if family == "hf":
        _from("hf").config_of(member)
    elif family in FAMILIES:
        names = _from(family).names()
        if member not in names and not (family == "timm" and _from("timm").is_there(member)):
            raise _unknown(name, [f"{family}:{each}" for each in difflib.get_close_matches(member, names, n=3)])
    elif meant and not names_a_file(name):
        raise _unknown(name, [f"{meant[0]}:{member}"])
    elif runs_code(name):
        from_code.check(name, source_of(name))
    else:
        torchvisions = {each: f"torchvision:{each}" for each in _from("torchvision").names()}
        known = {name: name for name in STUDENTS} | torchvisions
        raise _unknown(name, [known[each] for each in difflib.get_close_matches(name, known, n=3)])


def _unknown(name: str, near: list[str]) -> UserError:
    return UserError(f"unknown student {shown(name)}{f' (nearest: {listed(near)})' if near else ''}; {FORMS}")


def check_of_text(name: str, *, plain_text: bool) -> None:
    """Refuses a student that says one class of a sample where samples are plain text, and the other way round.

    What a function of the user's own builds is looked at when it is tried.

    Raises:
        UserError: with one that goes with the data.
    """
    if plain_text and name != BYTE_GPT and not runs_code(name):
        raise UserError(
            f"student is {shown(name)}, which says one class of a sample, but of plain text (format 'text') it is "
            "asked which byte comes next at each place; give --student byte-gpt, or a function that builds your own"
        )
    if not plain_text and name == BYTE_GPT:
        raise UserError(
            "student is 'byte-gpt', which says which byte comes next in a plain text, but the data are something else; "
            "give --format text with files of it, or another --student"
        )


def is_reference(name: str) -> bool:
    """Whether the student is one of the package's own, which are known to work."""
    return name in STUDENTS


def runs_code(name: str) -> bool:
    """Whether building it runs code that the name points to."""
    return names_a_file(name) or (":" in name and name.partition(":")[0] not in FAMILIES)


def source_of(name: str) -> bytes | None:
    """What machines that lack the user's files need, to build it; None of a name that says it all.

    Raises:
        UserError: a file that is not there.
    """
    if name.startswith("hf:"):
        found: bytes = _from("hf").config_of(name.partition(":")[2])
        return found
    return from_code.source_of(name) if runs_code(name) else None


def _built(name: str, input_shape: tuple[int, ...], n_classes: int, source: bytes | None) -> nn.Module:
    if name in STUDENTS:
        return STUDENTS[name](input_shape, n_classes)
    source = source_of(name) if source is None else source
    if runs_code(name):
        return from_code.build(name, source, input_shape, n_classes)
    family, _, member = name.partition(":")
    if source is None:
        check_student(name)
        made: nn.Module = _from(family).build(member, input_shape, n_classes)
    else:
        made = _from(family).build(member, source, input_shape, n_classes)
    return made


def _from(family: str) -> Any:
    """The module that builds a family's models; seconds, which few need."""
    with needing(FAMILIES[family], f"--student {family}:NAME"):
        return importlib.import_module(f"{__name__}.from_{family}")
