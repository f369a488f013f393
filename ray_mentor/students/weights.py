"""Params of another training that a student begins with: read as data, and fitted to the classes and channels."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from torch import Tensor, nn

from ray_mentor.core.student.trained import last_layer
from ray_mentor.errors import UserError, listed, shown
from ray_mentor.students.images import COLOURS, with_channels

INSIDE = ("state_dict", "model_state_dict", "model", "student")
"""Under which training scripts put a model's params, beside their optimizer's and the like."""

WRAPPED = ("module.", "_orig_mod.")
"""What data parallelism and torch.compile put before names."""


@dataclass(frozen=True)
class Start:
    """What a student begins with.

    Attributes:
        params: params and buffers by name; fresh ones are absent.
        fresh: names of the last layer's that no file gives, since they are fitted to other classes.
        said: of where they are from, for whoever watches.
    """

    params: Mapping[str, Tensor]
    fresh: tuple[str, ...]
    said: str

    def put_into(self, student: nn.Module) -> None:
        """Makes the student begin so."""
        student.load_state_dict(dict(self.params), strict=False)


def read_params(path: str) -> dict[str, Tensor]:
    """Params and buffers by name, of a file of safetensors or PyTorch's; whatever it holds, nothing in it is executed.

    Raises:
        UserError: no such file, or one that holds no params alone.
    """
    file = Path(path)
    if "://" in path:
        raise UserError(f"student_weights is {shown(path)}, but it must be a file of this machine; copy it here first")
    if not file.is_file():
        raise UserError(f"student_weights is {shown(path)}, but there is no such file; give a file of params")
    try:
        if file.suffix == ".safetensors":
            return safetensors.torch.load_file(file)
        found = torch.load(file, map_location="cpu", weights_only=True)
    except Exception as error:  # of whatever class the damage calls for
        raise UserError(
            f"student_weights is {shown(path)}, which can't be read as data ({_why(error)}); nothing in it was "
            "executed: give params alone, as safetensors or as torch.save(model.state_dict(), FILE)"
        ) from error
    return _named(found, path)


def _why(error: Exception) -> str:
    """In our own words: PyTorch's are advice to execute the file."""
    if type(error).__name__ == "UnpicklingError":  # nothing here imports pickle
        found = re.search(r"GLOBAL ([\w.]+)", str(error))
        return f"it holds a {found[1]}, as a whole model does" if found else "it is damaged, or holds no params"
    return f"{type(error).__name__}: {next(iter(str(error).splitlines()), '')[:200]}"


def start_of(path: str, student: nn.Module, inputs: Tensor | None = None) -> Start:
    """What the student begins with, if its params are those of a file.

    The last layer's stay as they are where the file's are of other classes. A first convolution's, of three colours,
    are those of :func:`~ray_mentor.students.images.with_channels` where the images have other channels.

    Args:
        student: fresh; stays as it is.
        inputs: some of the student's, of whatever values, which tell its last layer; None: it is the one made last.

    Raises:
        UserError: params of another model; it names those that are missing, left over, or of another shape.
    """
    own, head = student.state_dict(), set(last_layer(student, inputs))
    found = _unwrapped(read_params(path), own)
    there = {_place(value) for name, value in own.items() if name in found and value.numel()}
    params: dict[str, Tensor] = {}
    fresh, missing, others = [], [], []
    for name, value in own.items():
        given = found.get(name)
        if given is not None and given.shape == value.shape:
            params[name] = given.to(value.dtype)
        elif given is None and _place(value) in there:
            continue
        elif name in head:
            fresh.append(name)
        elif given is None:
            if value.is_floating_point():  # not a count of batches, which older files lack
                missing.append(name)
        elif _differ_in_channels(given, value):
            params[name] = with_channels(given, value.shape[1]).to(value.dtype)
        else:
            others.append(f"{name} {tuple(given.shape)} instead of {tuple(value.shape)}")
    left = [name for name in found if name not in own and name not in head]
    wrong = {"missing": missing, "left over": left, "of another shape": others}
    if any(wrong.values()):
        says = "; ".join(f"{what}: {listed(names, _SHOWN)}" for what, names in wrong.items() if names)
        raise UserError(f"student_weights is {shown(path)}, of another model than the student ({says}); {_FIX}")
    for name, value in params.items():
        if not value.isfinite().all():
            raise UserError(f"student_weights is {shown(path)}, whose {name} is not finite; give another file")
    return Start(params, tuple(fresh), _said(f"{len(params)} params and buffers of {path}", fresh))


def pretrained(name: str, source: bytes | None, input_shape: tuple[int, ...], n_classes: int) -> Start | None:
    """What lies with a model of Hugging Face's; None of another student, and of a config alone.

    Raises:
        UserError: params that can't be read, or are of images of another size.
    """
    if not name.startswith("hf:") or source is None:
        return None
    from ray_mentor.students import from_hf  # noqa: PLC0415 - seconds, which few need

    found = from_hf.pretrained(name.partition(":")[2], source, input_shape, n_classes)
    if found is None:
        return None
    params, fresh = found
    kept = {each: value for each, value in params.items() if each not in fresh}
    return Start(kept, tuple(fresh), _said(f"{len(kept)} params and buffers of {name}", fresh))


def check_can_differ(method: str, start: Start | None) -> None:
    """Refuses two students that would begin with the same params, and so stay the same.

    Raises:
        UserError: nothing is fresh.
    """
    if start is not None and not start.fresh:
        raise UserError(
            f"method is {method!r}, which trains two students, but student_weights gives both the same params, so that "
            "neither could teach the other anything; take a method of one student, or params for other classes"
        )


def _said(what: str, fresh: Sequence[str]) -> str:
    rest = f"; fresh: {listed(fresh, _SHOWN)}" if fresh else ""
    return f"the student begins with {what}{rest}"


def _named(found: Any, path: str) -> dict[str, Tensor]:
    """The table of params in what a file holds."""
    inside = next((name for name in INSIDE if isinstance(found, dict) and isinstance(found.get(name), dict)), None)
    table = found if inside is None else found[inside]
    if not isinstance(table, dict) or not table or not all(isinstance(value, Tensor) for value in table.values()):
        raise UserError(
            f"student_weights is {shown(path)}, which holds {type(table).__name__}, and no params by name; give what "
            "torch.save(model.state_dict(), FILE) writes"
        )
    return {str(name): value for name, value in table.items()}


def _unwrapped(found: dict[str, Tensor], own: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Without what :data:`WRAPPED` put before the names, unless they are the student's own with it."""
    for prefix in WRAPPED:
        if all(name.startswith(prefix) for name in found) and not found.keys() & own.keys():
            found = {name.removeprefix(prefix): value for name, value in found.items()}
    return found


def _place(value: Tensor) -> tuple[Any, ...]:
    """Where it lies: tied params lie in one place, and safetensors holds them once."""
    return value.data_ptr(), tuple(value.shape), value.stride()


def _differ_in_channels(given: Tensor, own: Tensor) -> bool:
    """Whether they are of a convolution of colours, and of one of other channels."""
    is_convolution = given.dim() == own.dim() == 4 and given.shape[1] == COLOURS
    return is_convolution and given.shape[0] == own.shape[0] and given.shape[2:] == own.shape[2:]


_FIX = "give params of this student; its last layer's may be of other classes"
_SHOWN = 5
"""Names in a message."""
