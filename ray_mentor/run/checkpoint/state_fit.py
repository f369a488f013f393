"""Whether a run's state, read from a file, can be taken up as a whole; asked before any of it is."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from ray_mentor.core.curriculum import Curriculum
from ray_mentor.core.mentor.trial import check_mentor_state
from ray_mentor.core.plain_load import tensors_of
from ray_mentor.core.schema import A_NUMBER, COUNT, AbstractSchema, Each, Fields, Is, Like, Maybe, check, taking_up
from ray_mentor.core.state.checked import read_curriculum_state
from ray_mentor.core.student.average import Average
from ray_mentor.run.meta_set.said import are_cells

if TYPE_CHECKING:
    from ray_mentor.run.checkpoint.state import RunState


def check_fits(
    state: RunState,
    curriculum: Curriculum,
    schedule: torch.optim.lr_scheduler.LRScheduler,
    average: Average | None = None,
) -> None:
    """Raises a UserError that names the first entry that is not as this run's own would be.

    The mentor's entries are compared when the mentor takes them up, wherever it lives.
    """
    _check(state.student, Like(dict(curriculum.bare.state_dict())), "student")
    _check_optimizer(state.optimizer, curriculum.optimizer)
    _check(state.schedule, Like(schedule.state_dict()), "schedule")
    read_curriculum_state(state.curriculum.table(), history_apart=state.history_pieces is not None)
    if state.curriculum.mentor is not None:
        check_mentor_state(state.curriculum.mentor)
    _check(state.log, LOG, "log")
    _check(state.average, Like(None if average is None else average.values), "average")
    if state.kept is not None:
        _check(state.kept, _kept(state.student, state.kept.hits), "kept")


def _check_optimizer(state: Any, optimizer: torch.optim.Optimizer) -> None:
    """A copy of the optimizer, with a copy of the params, takes the state up and makes a step along no gradient."""
    try:
        twin = copy.deepcopy(optimizer)
    except Exception:  # a user's own, that can't be copied
        return
    params = [param for group in twin.param_groups for param in group["params"]]
    with taking_up("optimizer of the run's state", _FIX):
        twin.load_state_dict(copy.deepcopy(state))
        for param in params:
            param.grad = torch.zeros_like(param)
        twin.step()
        if not all(bool(tensor.isfinite().all()) for tensor in tensors_of([params, twin.state_dict()])):
            raise ValueError("it holds numbers that are not finite, or comes to some")
    for group, own in zip(twin.param_groups, optimizer.param_groups, strict=True):
        for name, value in own.items():
            if isinstance(value, float):
                _check(group.get(name), Like(value), f"optimizer.{name}")


def _are_sums(value: Any) -> bool:
    is_table = isinstance(value, Tensor) and value.dtype == torch.float64 and value.ndim == 2 and value.shape[1] == 3
    return is_table and bool(value.isfinite().all())


def _is_figure(value: Any) -> bool:
    """A number that a table's column holds among floats, of which a whole one has 53 bits."""
    return A_NUMBER.holds(value) and (isinstance(value, float) or abs(value) < 2**53)


def _time(least: float) -> Is:
    return Is(lambda value: A_NUMBER.holds(value) and value >= least, "a time")


def _names_a_column(name: Any) -> bool:
    """On one line; behind a slash stands the name of a group, which can be any text."""
    return isinstance(name, str) and name.partition("/")[0].isidentifier() and len(name.splitlines()) == 1


_COLUMN = Is(_names_a_column, "a column's name")

LOG = Fields(
    metrics=Each(
        Each(
            Maybe(Is(_is_figure, "a finite number")),
            keys=_COLUMN,
        )
    ),
    train_seconds=_time(1e-9),
    epoch_seconds=_time(0),
    tally=Fields(
        sums=Is(_are_sums, "three sums a rank"),
        meta_losses=Each(A_NUMBER),
        hypergradients=Each(Each(A_NUMBER), keys=_COLUMN),
    ),
    trusted_said=Is(are_cells, "counts by epoch, label and predicted label"),
)
"""The ledger aside, which :func:`~ray_mentor.run.ledger.files.stretches_of` looks at."""


def _are_hits(value: Any) -> bool:
    """Whether right or not, or minus losses."""
    if not isinstance(value, Tensor) or value.ndim != 1 or len(value) == 0:
        return False
    return value.dtype == torch.bool or (value.dtype == torch.float64 and bool(value.isfinite().all()))


def _kept(student: dict[str, Tensor], hits: Any) -> Fields:
    """With a student like the run's own, and as many hits of the last epoch as of the best."""
    as_many = Is(
        lambda value: _are_hits(value) and (value.shape, value.dtype) == (hits.shape, hits.dtype),
        "as many hits as the best epoch's",
    )
    return Fields(epoch=COUNT, hits=Is(_are_hits, "hits"), last_epoch=COUNT, last_hits=as_many, student=Like(student))


_FIX = "it is damaged, or of a run with other settings: start another run, or go on from another checkpoint"


def _check(value: Any, schema: AbstractSchema, place: str) -> None:
    check(value, schema, "the run's state", _FIX, place)
