"""Stop-gradients and surrogate gradients: influences are those of real steps, or refused."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from real_steps import found_influences, real_influences
from stop_gradients import STOPS, make_stop, stop_samples
from taken_steps import Trainee, relative_error
from torch import Tensor
from torch.optim import SGD, Adam, Optimizer

EXACT = 1e-6  # of the truth's own differences
B = 9

OPTIMIZERS: dict[str, Callable[[Any], Optimizer]] = {
    "nesterov": lambda params: SGD(params, lr=0.1, momentum=0.9, nesterov=True),
    "adam": lambda params: Adam(params, lr=0.01, eps=1e-3),
}


def trainee_of(name: str, optimizer: str) -> Trainee:
    student = make_stop(name)
    trainee = Trainee(student, OPTIMIZERS[optimizer](student.parameters()), loss=STOPS[name].loss)
    trainee.warm_up([stop_samples(B, 50), stop_samples(B, 51)])
    return trainee


def truth_of(name: str, optimizer: str) -> Tensor:
    return real_influences(lambda: trainee_of(name, optimizer), stop_samples(B, 1), stop_samples(7, 2))


def found(estimator: str, name: str, optimizer: str = "nesterov") -> Tensor:
    return found_influences(estimator, lambda: trainee_of(name, optimizer), stop_samples(B, 1), stop_samples(7, 2))


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("name", [name for name, stop in STOPS.items() if stop.jvp])
def test_jvp_is_the_derivative_of_real_steps(name: str, optimizer: str) -> None:
    assert relative_error(found("jvp", name, optimizer), truth_of(name, optimizer)) <= EXACT


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("name", STOPS)
def test_unrolled_is_the_derivative_of_real_steps(name: str, optimizer: str) -> None:
    assert relative_error(found("unrolled", name, optimizer), truth_of(name, optimizer)) <= EXACT
