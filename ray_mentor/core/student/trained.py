"""Which of a student's params are trained, and at which rate: frozen ones, and those of the last layer."""

from __future__ import annotations

import fnmatch
from collections.abc import Callable, Collection, Sequence
from typing import Any

from torch import nn

from ray_mentor.config import StudentConfig
from ray_mentor.core.student.optimizers import Params
from ray_mentor.core.student.pair import members_of
from ray_mentor.errors import UserError, listed, shown


def frozen(build: Callable[[], nn.Module], patterns: Sequence[str]) -> nn.Module:
    """A fresh student of whose params those get no gradient whose names a pattern matches.

    Its layers are otherwise as they were: a batch norm still normalises by the batch, and goes on with its running
    statistics.

    Args:
        build: makes the student.
        patterns: as the shell has them: ``*``, ``?``, ``[...]``.

    Raises:
        UserError: a pattern that matches no param, or nothing left to train.
    """
    student = build()
    names = [name for name, _ in student.named_parameters()]
    for pattern in patterns:
        matched = fnmatch.filter(names, pattern)
        if not matched:
            raise UserError(
                f"freeze is {shown(pattern)}, but no param of the student is called so; they are "
                f"{listed(names, _SHOWN)}; {_example(names)}"
            )
        for name in matched:
            student.get_parameter(name).requires_grad_(False)
    if not any(param.requires_grad for param in student.parameters()):
        raise UserError(f"freeze is {shown(tuple(patterns))}, which leaves nothing to train; leave some params out")
    return student


def last_layer(student: nn.Module) -> Collection[str]:
    """Names of the params of the last module, in the order in which modules were made, that has some of its own."""
    found: list[str] = []
    for place, module in student.named_modules():
        own = [f"{place}.{name}".lstrip(".") for name, _ in module.named_parameters(recurse=False)]
        found = own or found
    return found


def trained(student: nn.Module, config: StudentConfig) -> Params:
    """What the optimizer is made of: the params that are trained, in two groups where the last layer has its rate.

    Args:
        student: bare, or wrapped for data parallelism.
    """
    params = [param for param in student.parameters() if param.requires_grad]
    if config.learning_rate_head is None:
        return params
    bare = student.module if isinstance(student, nn.parallel.DistributedDataParallel) else student
    members = list(members_of(bare).values()) or [bare]
    head = {id(each.get_parameter(name)) for each in members for name in last_layer(each)}
    groups: list[dict[str, Any]] = [
        {"params": [param for param in params if id(param) not in head]},
        {"params": [param for param in params if id(param) in head], "lr": config.learning_rate_head},
    ]
    return [group for group in groups if group["params"]]


def _example(names: Sequence[str]) -> str:
    first = next((name.partition(".")[0] for name in names if "." in name), names[0])
    return f"give a name or a pattern of them, as in --freeze {first}.*"


_SHOWN = 8
"""Names in a message."""
