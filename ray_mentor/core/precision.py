"""The autocast that a forward pass ran under, so that a later one can run under the same."""

from __future__ import annotations

from dataclasses import dataclass

import torch


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

    def again(self) -> torch.autocast:
        """A context in which it is on, or off, again. Without autocast's cache: params differ between passes."""
        return torch.autocast(self.device_type, self.autocast, enabled=self.autocast is not None, cache_enabled=False)
