"""Whether a run's state, read from a file, can be taken up as a whole; asked before any of it is."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from ray_mentor.core.curriculum import Curriculum
from ray_mentor.core.mentor.trial import check_mentor_state
from ray_mentor.core.plain_load import tensors_of
from ray_mentor.core.state.checked import read_curriculum_state
from ray_mentor.errors import UserError, shown

if TYPE_CHECKING:
    from ray_mentor.run.checkpoint.state import RunState


def check_fits(state: RunState, curriculum: Curriculum, schedule: torch.optim.lr_scheduler.LRScheduler) -> None:
    """Raises a UserError that names the first entry that is not as this run's own would be.

    The mentor's entries are compared when the mentor takes them up, wherever it lives.
    """
    _check_alike("student", state.student, dict(curriculum.bare.state_dict()))
    _check_optimizer(state.optimizer, curriculum.optimizer)
    _check_alike("schedule", state.schedule, schedule.state_dict())
    read_curriculum_state(state.curriculum.table(), history_apart=state.history_pieces is not None)
    if state.curriculum.mentor is not None:
        check_mentor_state(state.curriculum.mentor)
    _check_log(dataclasses.asdict(state.log))


def _check_alike(where: str, found: Any, own: Any) -> None:
    """The same keys, and under each the same type and shape."""
    if isinstance(own, Mapping):
        _require(isinstance(found, Mapping), where, found, "a table")
        _require(
            found.keys() == own.keys(), where, sorted(map(str, found)), f"of the keys {shown(sorted(map(str, own)))}"
        )
        for key in own:
            _check_alike(f"{where}.{key}", found[key], own[key])
    elif isinstance(own, list | tuple):
        _require(isinstance(found, list | tuple) and len(found) == len(own), where, found, f"a list of {len(own)}")
        for place, (one, other) in enumerate(zip(found, own, strict=True)):
            _check_alike(f"{where}[{place}]", one, other)
    elif isinstance(own, Tensor):
        _require(isinstance(found, Tensor), where, found, "a tensor")
        kinds = [(tensor.dtype, tuple(tensor.shape), tensor.layout) for tensor in (found, own)]
        _require(kinds[0] == kinds[1], where, kinds[0], f"{kinds[1]}")
    elif isinstance(own, int | float) and not isinstance(own, bool):
        _require(_is_number(found), where, found, "a finite number")
    else:
        _require(type(found) is type(own), where, found, f"of type {type(own).__name__}")


def _check_optimizer(state: Any, optimizer: torch.optim.Optimizer) -> None:
    """A copy of the optimizer, with a copy of the params, takes the state up and makes a step along no gradient."""
    try:
        twin = copy.deepcopy(optimizer)
    except Exception:  # a user's own, that can't be copied
        return
    params = [param for group in twin.param_groups for param in group["params"]]
    try:
        twin.load_state_dict(copy.deepcopy(state))
        for param in params:
            param.grad = torch.zeros_like(param)
        twin.step()
        finite = all(bool(tensor.isfinite().all()) for tensor in tensors_of([params, twin.state_dict()]))
    except Exception as error:  # torch raises whatever it trips over
        reason = f"{type(error).__name__}: {(str(error).splitlines() or [''])[0]}"
        raise UserError(f"optimizer of the run's state can't be taken up ({reason}){_FIX}") from error
    _require(finite, "optimizer", "of values that are not finite", "of finite ones")
    for group, own in zip(twin.param_groups, optimizer.param_groups, strict=True):
        for name, value in own.items():
            if isinstance(value, float):
                _check_alike(f"optimizer.{name}", group.get(name), value)


def _check_log(log: dict[str, Any]) -> None:
    metrics, tally = log["metrics"], log["tally"]
    is_rows = isinstance(metrics, list) and all(isinstance(row, dict) for row in metrics)
    _require(is_rows, "log.metrics", metrics, "a list of rows")
    for row in metrics:
        for name, value in row.items():
            _require(isinstance(name, str) and name.isidentifier(), "log.metrics", name, "a column's name")
            _require(value is None or _is_figure(value), f"log.metrics.{name}", value, "a finite number")
    for name, least in (("train_seconds", 1e-9), ("epoch_seconds", 0)):
        _require(_is_number(log[name]) and log[name] >= least, f"log.{name}", log[name], "a time")
    sums, losses = tally["sums"], tally["meta_losses"]
    is_sums = isinstance(sums, Tensor) and sums.dtype == torch.float64 and sums.ndim == 2 and sums.shape[1] == 3
    _require(is_sums and bool(sums.isfinite().all()), "log.tally.sums", sums, "three sums a rank")
    _require(isinstance(losses, list) and all(map(_is_number, losses)), "log.tally.meta_losses", losses, "numbers")


def _is_number(value: Any) -> bool:
    """Nor too large for a float, which an integer can be."""
    return isinstance(value, int | float) and not isinstance(value, bool) and -_LARGEST < value < _LARGEST


_LARGEST = 1e300


def _is_figure(value: Any) -> bool:
    """A number that a table's column holds among floats, of which a whole one has 53 bits."""
    return _is_number(value) and (isinstance(value, float) or abs(value) < 2**53)


_FIX = "; it is damaged, or of a run with other settings: start another run, or go on from another checkpoint"


def _require(ok: bool, where: str, value: object, rule: str) -> None:
    if not ok:
        raise UserError(f"{where} of the run's state is {shown(value)}, but it must be {rule}{_FIX}")
