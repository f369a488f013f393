"""Which devices a student can be trained on."""

from __future__ import annotations

import torch

from ray_mentor.errors import UserError


def check_device(device: torch.device) -> None:
    """Refuses a device that can't hold float64, in which influences are added up, as Apple's can't.

    Raises:
        UserError: naming the device.
    """
    try:
        torch.zeros((), dtype=torch.float64, device=device)
    except (TypeError, RuntimeError) as error:
        raise UserError(
            f"the student is on {device}, which can't hold float64, in which influences are added up; move it to the "
            "CPU or to a GPU that can"
        ) from error
