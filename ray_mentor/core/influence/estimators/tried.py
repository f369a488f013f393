"""An estimator that is tried on a student, before a run that would need it."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from ray_mentor.core.batch import Batch, MetaBatch
from ray_mentor.core.exchange import Alone
from ray_mentor.core.influence.estimators import make_estimator
from ray_mentor.core.influence.meta_gradient import meta_gradient
from ray_mentor.core.influence.taken_step import TakenStep, dense_gradient_of, remember
from ray_mentor.core.losses.cross_entropy import sequence_cross_entropy
from ray_mentor.errors import UserError

_RATE = 1e-3
_ELSE = ("jvp", "finite_difference", "unrolled")
"""What to take instead, in this order."""


def check_estimator(name: str, student: nn.Module, inputs: Tensor, labels: Tensor) -> None:
    """Takes one step with the student, and asks for the influences of its samples.

    Args:
        student: has other params, buffers and gradients afterwards.
        inputs: of some samples.
        labels: of theirs, by which cross-entropy goes.

    Raises:
        UserError: what the estimator can't do with the student, and which can.
    """
    try:
        _influences(name, student, inputs, labels)
    except Exception as error:
        instead = next((each for each in _ELSE if each != name and _works(each, student, inputs, labels)), None)
        raise UserError(f"{_said(name, error)}; {_fix(instead)}") from error


def _said(name: str, error: Exception) -> str:
    if isinstance(error, UserError):
        return str(error)
    return f"estimator is {name!r}, which fails with this student ({type(error).__name__}: {_first_line(error)})"


def _fix(instead: str | None) -> str:
    if instead is None:
        return "all others were tried, and fail, too: take a method without a mentor, e.g. --method uniform"
    return f"--estimator {instead} was tried, and works"


def _works(name: str, *given: Any) -> bool:
    try:
        _influences(name, *given)
    except Exception:  # whatever it is, this is no advice
        return False
    return True


def _influences(name: str, student: nn.Module, inputs: Tensor, labels: Tensor) -> Tensor:
    trained = [param for param in student.parameters() if param.requires_grad]
    optimizers = (torch.optim.SGD(trained, lr=_RATE),)
    estimator = make_estimator(name)
    estimator.check(student, optimizers, 1)
    whole, heard = estimator.remembers_optimizer(optimizers), estimator.listen(student)
    before = remember(student, optimizers, whole_optimizer=whole, heard=heard)
    for param in trained:
        param.grad = None
    losses = sequence_cross_entropy(student(inputs), labels)
    before.stop_listening()
    losses.mean().backward()
    applied = {each: gradient.clone() for each, gradient in dense_gradient_of(student).items()}
    optimizers[0].step()
    rows = torch.arange(len(labels))
    weights = torch.full((len(labels),), 1 / len(labels))
    batch, meta = Batch(rows, rows, inputs, labels), MetaBatch(inputs, labels, len(labels))
    step = TakenStep(
        student, optimizers, sequence_cross_entropy, sequence_cross_entropy, batch, weights, before, applied
    )
    asked = estimator.names(student)
    direction, _ = meta_gradient(student, sequence_cross_entropy, meta, Alone(), before.precision, asked)
    return estimator((step,), meta, direction, rows)


def _first_line(error: Exception) -> str:
    return next(iter(str(error).splitlines()), "")
