"""The buffers of a student that is trained data-parallel, as its next forward pass meets them."""

from __future__ import annotations

from torch import nn


def share_buffers(student: nn.Module) -> None:
    """What data parallelism does when a forward pass begins, done now: rank 0's buffers are every rank's.

    Whoever looks at the student's buffers before that forward pass then sees what it will. Done twice it is done once.

    Args:
        student: wrapped; where nothing that wraps it shares buffers, nothing is done. The same call on every rank.
    """
    wrapped = getattr(student, "_orig_mod", student)  # what torch.compile returns
    if isinstance(wrapped, nn.parallel.DistributedDataParallel) and wrapped._check_sync_bufs_pre_fwd():
        wrapped._sync_buffers()
