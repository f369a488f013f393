"""Copies in the host's memory of what lies on any device."""

from __future__ import annotations

import copy
import dataclasses
from typing import Any

import torch
from torch import Tensor


def host_copies(**parts: Any) -> dict[str, Any]:
    """Copies of containers of containers, dataclasses, and whatever else can be copied.

    Nothing is copied on the device. Tensors that share memory (tied params) share that of their copy: a file that
    holds both holds it once.
    """
    return _Copier().copy_of(parts)  # type: ignore[no-any-return]


class _Copier:
    def __init__(self) -> None:
        self._storages: dict[tuple[torch.device, int], torch.UntypedStorage] = {}
        self._others: dict[int, Any] = {}

    def copy_of(self, value: Any) -> Any:
        if isinstance(value, Tensor):
            return self._tensor(value)
        if type(value) is dict:
            return {key: self.copy_of(each) for key, each in value.items()}
        if type(value) in (list, tuple):
            return type(value)(map(self.copy_of, value))
        if dataclasses.is_dataclass(value) and not isinstance(value, type):
            fields = {field.name: self.copy_of(getattr(value, field.name)) for field in dataclasses.fields(value)}
            return dataclasses.replace(value, **fields)
        return copy.deepcopy(value, self._others)

    def _tensor(self, value: Tensor) -> Tensor:
        if value.layout != torch.strided or type(value) not in (Tensor, torch.nn.Parameter):
            return value.detach().to("cpu", copy=True)
        whole = value.untyped_storage()
        key = (value.device, whole.data_ptr())
        if key not in self._storages:
            self._storages[key] = whole.clone() if value.device.type == "cpu" else whole.cpu()
        host = torch.empty(0, dtype=value.dtype)
        return host.set_(self._storages[key], value.storage_offset(), value.shape, value.stride())
