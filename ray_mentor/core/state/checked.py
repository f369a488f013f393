"""A curriculum's state from a file: read, and found to be one, before a curriculum takes it up."""

from __future__ import annotations

from typing import Any

from torch import Tensor, float64

from ray_mentor.core.schema import A_FLOAT, A_SHARE, COUNT, Each, Fields, Is, Maybe, check
from ray_mentor.core.state.curriculum import CurriculumState
from ray_mentor.errors import UserError, shown


def _is_history(value: Any) -> bool:
    is_table = isinstance(value, Tensor) and value.ndim == 2 and value.is_floating_point()
    return is_table and not bool(value.isinf().any())


def _is_found(value: Any) -> bool:
    return isinstance(value, Tensor) and value.dtype == float64 and bool(value.isfinite().all())


_UNIT = Is(lambda value: A_FLOAT.holds(value) and value >= 0, "a finite number from 0 on")

CURRICULUM = Fields(
    step=COUNT,
    meta_updates=COUNT,
    percentile=Maybe(A_FLOAT),
    memorising=Fields(share=A_SHARE, total=A_FLOAT, samples=COUNT),
    gradient_rule=Maybe(A_FLOAT),
    at_epoch=Each(Maybe(Is(_is_found, "a table of finite numbers"))),
    units=Maybe(Fields(level=_UNIT, spread=_UNIT)),
    history=Maybe(Is(_is_history, "a table of finite losses, samples by epochs, or NaN for none yet")),
    guards=Fields(
        fallbacks=COUNT,
        epochs_since=COUNT,
        inconsistent=COUNT,
        without_influence=COUNT,
        rounding=Maybe(A_SHARE),
        stopped_at=Maybe(COUNT),
        lowest_holdout=Maybe(A_FLOAT),
        class_shares=Each(A_FLOAT, keys=COUNT),
    ),
)
"""The mentor's state aside, which :mod:`~ray_mentor.core.mentor.trial` looks at."""

_FIX = "give what state_dict() gave"


def read_curriculum_state(table: Any, *, history_apart: bool = False) -> CurriculumState:
    """What :meth:`~ray_mentor.core.state.curriculum.CurriculumState.table` gave, its mentor aside checked for sense.

    Args:
        history_apart: whether the loss history is kept elsewhere.

    Raises:
        UserError: anything else, naming the entry and its value.
    """
    try:
        state = CurriculumState.from_table(table)
    except Exception as error:  # whatever a table that is none trips over
        reason = f"{type(error).__name__}: {shown(str(error))}"
        raise UserError(f"the curriculum's state can't be read ({reason}); {_FIX}") from error
    check(state, CURRICULUM, "the curriculum's state", _FIX)
    if (state.history is None) != history_apart:
        rule = "None: it is kept in files of its own" if history_apart else "a table of losses"
        raise UserError(f"history of the curriculum's state is {shown(state.history)}, but it must be {rule}; {_FIX}")
    return state
