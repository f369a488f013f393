"""Params and buffers of a student as safetensors: bytes that hold numbers and names, and nothing that is run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor, nn

from ray_mentor.errors import UserError, listed, shown


def to_bytes(state: Mapping[str, Any]) -> bytes:
    """A state dict as safetensors.

    Of tied params one is written; :func:`load_into` and ``safetensors.torch.load_model`` see by the module which these
    are.

    Raises:
        UserError: a state that holds other things than tensors.
    """
    for name, value in state.items():
        if not isinstance(value, Tensor) or value.layout != torch.strided:
            raise UserError(f"the student's state holds {name!r}, {shown(value)}, but safetensors holds dense tensors")
    kept: dict[str, Tensor] = {}
    first: dict[Any, str] = {}
    same: dict[str, str] = {}
    for name, value in state.items():
        where = _memory(value)
        if value.numel() and where in first:
            same[name] = first[where]
        else:
            first[where] = name
            kept[name] = value.detach().cpu().contiguous()
    own = {name: value.clone() if _is_part(value) else value for name, value in kept.items()}
    return safetensors.torch.save(own, metadata={"format": "pt", **same})


def _memory(tensor: Tensor) -> tuple[Any, ...]:
    """What it lies in, and how: two tensors of the same are one."""
    storage = tensor.untyped_storage().data_ptr()
    return tensor.device, storage, tensor.storage_offset(), tuple(tensor.shape), tensor.stride(), tensor.dtype


def _is_part(tensor: Tensor) -> bool:
    """Whether it lies in memory that others may have parts of, too."""
    return tensor.untyped_storage().nbytes() != tensor.numel() * tensor.element_size()


def from_bytes(written: bytes, name: str) -> dict[str, Tensor]:
    """Reads what :func:`to_bytes` wrote.

    Args:
        name: of the file, for the error.

    Raises:
        UserError: anything else.
    """
    try:
        return safetensors.torch.load(written)
    except (SafetensorError, ValueError, KeyError, TypeError) as error:
        raise UserError(f"{name} cannot be read as safetensors ({error}); it is damaged: put it back") from error


def load_into(module: nn.Module, state: Mapping[str, Tensor], name: str) -> None:
    """Gives a module these params and buffers.

    Args:
        name: of the file they come from, for the error.

    Raises:
        UserError: those of another student, saying which it lacks, which are left over and which have another shape.
    """
    own = module.state_dict()
    there = {_memory(value) for key, value in own.items() if key in state}
    missing = [
        key for key, value in own.items() if key not in state and not (value.numel() and _memory(value) in there)
    ]
    left = [key for key in state if key not in own]
    shapes = [
        f"{key} {tuple(state[key].shape)} for {tuple(value.shape)}"
        for key, value in own.items()
        if key in state and state[key].shape != value.shape
    ]
    kinds = (("it lacks", missing), ("left over are", left), ("of another shape are", shapes))
    wrong = [f"{what} {_some(names)}" for what, names in kinds if names]
    if wrong:
        raise UserError(f"{name} is of another student: {'; '.join(wrong)}")
    module.load_state_dict(state, strict=False)


def _some(names: Sequence[str]) -> str:
    return f"{listed(sorted(names), 5)} ({len(names)})"
