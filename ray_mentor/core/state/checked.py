"""A curriculum's state from a file: read, and found to be one, before a curriculum takes it up."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from torch import Tensor

from ray_mentor.core.mentor.guards import GuardState
from ray_mentor.core.state.curriculum import CurriculumState
from ray_mentor.core.step.memorising import MemorisingState
from ray_mentor.errors import UserError, shown


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
        raise UserError(f"the curriculum's state can't be read ({reason}); give what state_dict() gave") from error
    for name in ("step", "meta_updates"):
        _require(_is_count(getattr(state, name)), name, getattr(state, name), _COUNT)
    fits = state.percentile is None or _is_number(state.percentile)
    _require(fits, "percentile", state.percentile, "it must be a finite number, or None as long as there is none")
    _check_memorising(state.memorising)
    if state.units is not None:
        for name in ("level", "spread"):
            unit = getattr(state.units, name)
            _require(_is_number(unit) and unit >= 0, name, unit, "it must be a finite number from 0 on")
    if history_apart:
        _require(state.history is None, "history", state.history, "it is kept in files of its own")
    else:
        _check_history(state.history)
    _check_guards(state.guards)
    return state


def _check_history(history: Any) -> None:
    is_table = isinstance(history, Tensor) and history.ndim == 2 and history.is_floating_point()
    _require(is_table, "history", history, "it must be a table of losses, samples by epochs")
    _require(not bool(history.isinf().any()), "history", history, "it must hold finite losses, or NaN for none yet")


def _check_memorising(memorising: MemorisingState) -> None:
    is_share = _is_number(memorising.share) and 0 <= memorising.share <= 1
    _require(is_share, "share", memorising.share, "it must lie in [0, 1]")
    _require(_is_number(memorising.total), "total", memorising.total, "it must be a finite number")
    _require(_is_count(memorising.samples), "samples", memorising.samples, _COUNT)


def _check_guards(guards: GuardState) -> None:
    for name in ("fallbacks", "epochs_since", "inconsistent", "without_influence"):
        _require(_is_count(getattr(guards, name)), name, getattr(guards, name), _COUNT)
    is_rounding = guards.rounding is None or (_is_number(guards.rounding) and 0 <= guards.rounding <= 1)
    _require(is_rounding, "rounding", guards.rounding, "it must lie in [0, 1], or be None")
    stopped, lowest, shares = guards.stopped_at, guards.lowest_holdout, guards.class_shares
    _require(stopped is None or _is_count(stopped), "stopped_at", stopped, f"{_COUNT}, or None")
    _require(lowest is None or _is_number(lowest), "lowest_holdout", lowest, "it must be a finite number, or None")
    are_shares = isinstance(shares, Mapping) and all(map(_is_count, shares)) and all(map(_is_number, shares.values()))
    _require(are_shares, "class_shares", shares, "it must hold a finite number per class")


_COUNT = "it must be an integer from 0 on"


def _is_count(value: Any) -> bool:
    return type(value) is int and 0 <= value < 2**63


def _is_number(value: Any) -> bool:
    return type(value) is float and math.isfinite(value)


def _require(ok: bool, name: str, value: object, rule: str) -> None:
    if not ok:
        raise UserError(f"{name} of the curriculum's state is {shown(value)}, but {rule}; give what state_dict() gave")
