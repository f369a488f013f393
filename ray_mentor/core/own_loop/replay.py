"""Whether a forward pass can be repeated: what influences rest on."""

from __future__ import annotations

import torch
from torch import nn

from ray_mentor.core.influence.taken_step import Before
from ray_mentor.core.losses import PerSampleLoss, losses_of
from ray_mentor.core.step.observation import Observation
from ray_mentor.core.student.random_state import untouched
from ray_mentor.core.student.stateless import called_with
from ray_mentor.errors import UserError

TOLERANCE = 0.05  # of the largest loss: far above the noise of bf16 and of kernels, far below another loss


@torch.no_grad()
def check_replay(student: nn.Module, loss: PerSampleLoss, seen: Observation, before: Before) -> None:
    """Calls the student again, as it was, and compares.

    Raises:
        UserError: if ``loss`` of the student's outputs is not what the training loop computed.
    """
    values = {**before.params, **{name: buffer.clone() for name, buffer in before.buffers.items()}}
    with untouched(seen.losses.device), before.precision.again():
        before.random_state.put_back()
        again = losses_of(called_with(student, values, seen.batch.inputs), loss, seen.batch)
    difference = float((again - seen.losses).abs().max())
    if difference > TOLERANCE * float(seen.losses.abs().max()):
        raise UserError(
            f"the losses weighed differ from loss(student(inputs), labels) by up to {difference:.3g}; give the "
            "curriculum the loss that the loop computes, and call the student once, in train mode, right before weigh. "
            "Compiled dropout draws other masks, unless torch._inductor.config.fallback_random is set"
        )
