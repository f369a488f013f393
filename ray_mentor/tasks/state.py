"""A curriculum's state, read with care."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from ray_mentor.core.schema import A_FLOAT, COUNT, Each, Fields, Is, Maybe, check
from ray_mentor.errors import UserError, shown
from ray_mentor.tasks.rollouts import PolicyRows, Rollouts

FORMAT_VERSION = 1

_TEXT = Is(lambda value: isinstance(value, str), "text")
_TENSOR = Is(
    lambda value: isinstance(value, Tensor) and (not value.is_floating_point() or bool(value.isfinite().all())),
    "a tensor of finite numbers",
)
_ABOVE_0 = Is(lambda value: A_FLOAT.holds(value) and value > 0, "a finite number above 0")
_ROWS = Fields(observations=_TENSOR, actions=_TENSOR, log_probs=_TENSOR, advantages=_TENSOR, episodes=COUNT, task=_TEXT)

STATE = Fields(
    iteration=COUNT,
    version=COUNT,
    skipped=COUNT,
    without_signal=COUNT,
    episodes=COUNT,
    trusted=Maybe(Fields(available=Each(_ABOVE_0))),
    gradient=Each(_TENSOR, keys=_TEXT),
    gradient_weight=A_FLOAT,
    pending=Each(_ROWS),
)

_WHAT, _FIX = "the state of the tasks", "give what state_dict() gave"


def read_state(state: Any, own: Mapping[str, Any]) -> None:
    """Refuses what is no state of this curriculum.

    Args:
        own: what must be the same in both, by name.

    Raises:
        UserError: naming the entry and its value.
    """
    if not isinstance(state, Mapping) or state.get("format_version") != FORMAT_VERSION:
        raise UserError(f"this is no state of tasks of version {FORMAT_VERSION}; {_FIX}")
    try:
        check(state, STATE, _WHAT, _FIX)
    except (KeyError, AttributeError) as error:
        raise UserError(f"{error} is missing in {_WHAT}; {_FIX}") from error
    for name, here in own.items():
        if state.get(name) != here:
            raise UserError(
                f"{name} of {_WHAT} is {shown(state.get(name))}, and here it is {shown(here)}; give the same tasks, "
                "method, settings and seed"
            )
    trusted = state["trusted"]
    if (0 if trusted is None else len(trusted["available"])) != len(own["trusted_ids"]):
        raise UserError(f"trusted of {_WHAT} is {shown(trusted)}, of {len(own['trusted_ids'])} trusted tasks; {_FIX}")


def plain_rollouts(rollouts: Sequence[Rollouts]) -> list[dict[str, Any]]:
    """Rollouts as tables of tensors."""
    names = [field.name for field in dataclasses.fields(PolicyRows)]
    return [{"task": one.task, **{name: _plain(getattr(one.rows, name)) for name in names}} for one in rollouts]


def rollouts_of(tables: Sequence[Mapping[str, Any]]) -> list[Rollouts]:
    """What :func:`plain_rollouts` was given."""
    return [
        Rollouts(table["task"], PolicyRows(**{name: value for name, value in table.items() if name != "task"}))
        for table in tables
    ]


def _plain(value: Any) -> Any:
    return value.detach().clone() if isinstance(value, torch.Tensor) else value
