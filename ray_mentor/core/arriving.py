"""Numbers on their way from the student's device to the host, behind whatever the device does until then."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor


class Arriving:
    """Tensors that the host will read: sent off at once, in one piece of floats and one of integers, waited for late.

    What lies on the host already is not copied. A piece is float64 or int64, which hold the values of any other type.

    Args:
        tensors: by name; nobody writes over them until they are read.
    """

    def __init__(self, tensors: Mapping[str, Tensor]) -> None:
        self._away: list[tuple[dict[str, Tensor], Tensor]] = []
        away = {name: tensor for name, tensor in tensors.items() if not tensor.is_cpu}
        self._here = {name: tensor for name, tensor in tensors.items() if name not in away}
        self._arrival = None
        if not away:
            return
        for dtype in (torch.float64, torch.int64):
            part = {name: each for name, each in away.items() if each.is_floating_point() == dtype.is_floating_point}
            if part:
                piece = torch.cat([tensor.detach().reshape(-1).to(dtype) for tensor in part.values()])
                self._away.append((part, piece.to("cpu", non_blocking=True)))
        self._arrival = _arrival_of(next(iter(away.values())).device)

    @property
    def are_here(self) -> bool:
        """Whether nothing has to be waited for."""
        return not self._away

    def __getitem__(self, name: str) -> Tensor:
        """The tensor on the host; once it has arrived, which is waited for."""
        if self._away:
            self._unpack()
        return self._here[name]

    def get(self, name: str) -> Tensor | None:
        """The same; None where there is no such tensor."""
        if self._away:
            self._unpack()
        return self._here.get(name)

    def _unpack(self) -> None:
        if self._arrival is not None:
            self._arrival.synchronize()
        for part, piece in self._away:
            sizes = [tensor.numel() for tensor in part.values()]
            for (name, tensor), values in zip(part.items(), piece.split(sizes), strict=True):
                self._here[name] = values.view(tensor.shape).to(tensor.dtype)
        self._away = []


def _arrival_of(device: torch.device) -> torch.Event | None:
    """What happens on a device's stream once all that was asked for so far is done; None where copies wait anyway."""
    accelerator = torch.accelerator.current_accelerator()
    if accelerator is None or accelerator.type != device.type:
        return None
    return torch.accelerator.current_stream(device).record_event()
