"""Which optimizer moves which of the student's params: every step that the student takes must be known."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import torch
from torch import nn

from ray_mentor.core.step.gradient_rules.base import Gradient
from ray_mentor.errors import UserError, listed


def check_owners(student: nn.Module, optimizers: Sequence[torch.optim.Optimizer]) -> None:
    """Refuses optimizers that move something else than the student, or the same param.

    Args:
        student: bare.

    Raises:
        UserError: naming it.
    """
    own = {id(param): name for name, param in student.named_parameters()}
    seen: set[int] = set()
    foreign = []
    for param in [p for optimizer in optimizers for group in optimizer.param_groups for p in group["params"]]:
        if id(param) in seen:
            raise UserError(
                f"{own.get(id(param), 'a param')} is in two of the optimizers, but a param's step is one optimizer's; "
                "leave it in one of them"
            )
        seen.add(id(param))
        if id(param) not in own and param.requires_grad:
            foreign.append(param)
    if foreign:
        shapes = listed((str(tuple(param.shape)) for param in foreign), _SHOWN)
        raise UserError(
            f"the optimizers hold params that are not the student's ({len(foreign)}, of shape {shapes}), and no "
            "influence knows of their step; if the losses need them, put them into the student (a module of both, "
            "which returns what the rest of the loss takes), else into an optimizer that the curriculum is not given, "
            "whose step comes after after_step"
        )


def check_all_owned(student: nn.Module, applied: Gradient, owned: Collection[str]) -> None:
    """Refuses a student with gradients that no optimizer here steps along: another moves those params, or none.

    Args:
        applied: its gradients.
        owned: names of the params that are in an optimizer.

    Raises:
        UserError: how many, the first names, and what to do.
    """
    lost = [name for name in applied if name not in owned and student.get_parameter(name).requires_grad]
    if lost:
        raise UserError(
            f"{len(lost)} of the student's params have a gradient, but are in no optimizer that the curriculum was "
            f"given: {listed(lost, _SHOWN)}; give it every optimizer that moves the student, "
            "LearnedCurriculum(student, [first, second], ...), and freeze what none moves: requires_grad_(False)"
        )


_SHOWN = 3
"""Names in a message."""
