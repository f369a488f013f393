"""Of Ray Train, as its workers and controllers have it."""

from __future__ import annotations

from ray.train import PreemptionInfo
from ray.train.v2._internal import constants
from ray.train.v2._internal.execution.callback import WorkerCallback, WorkerGroupCallback
from ray.train.v2._internal.execution.context import get_train_context
from ray.train.v2._internal.execution.worker_group import WorkerGroupPollStatus

__all__ = ["WorkerCallback", "WorkerGroupCallback", "WorkerGroupPollStatus"]

BOOKS = constants.CHECKPOINT_MANAGER_SNAPSHOT_FILENAME
"""The file in which Ray Train keeps what was reported to it; one that is there already is taken up."""


def machines_that_go() -> PreemptionInfo | None:
    """The machines of this run that are about to be taken away, as far as this worker has been told; None: none are.

    ``ray.train.get_preemption_info`` asks rank 0 by way of an actor, which all ranks must do together.
    """
    return get_train_context().preemption_context.preemption_info
