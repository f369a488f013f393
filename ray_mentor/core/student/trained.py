"""Which of a student's params are trained, and at which rate: frozen ones, and those of the last layer."""

from __future__ import annotations

import fnmatch
from collections.abc import Callable, Collection, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from ray_mentor.config import StudentConfig
from ray_mentor.core.student.optimizers import Params
from ray_mentor.core.student.pair import members_of
from ray_mentor.core.student.random_state import untouched
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
        raise UserError(
            f"freeze is {', '.join(map(shown, patterns))}, which leaves nothing to train; leave some params out"
        )
    return student


def last_layer(student: nn.Module, inputs: Tensor | None = None) -> Collection[str]:
    """Names of the params of the layer that makes a student's outputs.

    That is the last one that inputs pass through, of those whose weight has a row for each output. Where none is heard,
    since the student is compiled, or takes no such inputs, it is the last one that was made.

    Args:
        inputs: some of the student's, of whatever values; None: nothing is passed through.
    """
    places = {module: place for place, module in student.named_modules() if [*module.parameters(recurse=False)]}
    found = [*places][-1]
    if inputs is not None:
        heard, outputs = _heard(student, [module for module in places if module is not student], inputs)
        rows = outputs.shape[1] if isinstance(outputs, Tensor) and outputs.ndim > 1 else None
        makers = [each for each in heard if any(p.ndim > 1 and len(p) == rows for p in each.parameters(recurse=False))]
        found = [found, *heard, *makers][-1]
    return [f"{places[found]}.{name}".lstrip(".") for name, _ in found.named_parameters(recurse=False)]


@torch.no_grad()
def _heard(student: nn.Module, layers: Sequence[nn.Module], inputs: Tensor) -> tuple[list[nn.Module], Any]:
    """Which layers the inputs pass through, in that order, and what comes out; all is as it was before."""
    heard: list[nn.Module] = []
    before = [(module, module.training) for module in student.modules()]
    hooks = [layer.register_forward_hook(lambda module, *_: heard.append(module)) for layer in layers]
    device = next(student.parameters()).device
    try:
        with untouched(device):
            return heard, student.eval()(inputs.to(device))
    except Exception:  # whatever its code says of inputs that it was not made for
        return [], None
    finally:
        for hook in hooks:
            hook.remove()
        for module, training in before:
            module.training = training


def trained(student: nn.Module, config: StudentConfig, inputs: Tensor | None = None) -> Params:
    """What the optimizer is made of: the params that are trained, in two groups where the last layer has its rate.

    Args:
        student: bare, or wrapped for data parallelism.
        inputs: see :func:`last_layer`.
    """
    params = [param for param in student.parameters() if param.requires_grad]
    if config.learning_rate_head is None:
        return params
    bare = student.module if isinstance(student, nn.parallel.DistributedDataParallel) else student
    members = list(members_of(bare).values()) or [bare]
    head = {id(each.get_parameter(name)) for each in members for name in last_layer(each, inputs)}
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
