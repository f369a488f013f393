"""Other tasks than one class a sample, and recurrent students: influences are those of real steps."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import pytest
import torch
from real_steps import found_influences, real_influences
from taken_steps import Trainee, cosine, relative_error
from tasks import TASKS, make_task_student, task_samples
from torch import Tensor
from torch.optim import SGD, Adam, Optimizer

EXACT = 1e-6  # of the truth's own differences
B = 9

OPTIMIZERS: dict[str, Callable[[Any], Optimizer]] = {
    "nesterov": lambda params: SGD(params, lr=0.1, momentum=0.9, nesterov=True, weight_decay=0.02),
    "adam": lambda params: Adam(params, lr=0.01, eps=1e-3, weight_decay=0.02),
}


def trainee_of(name: str, optimizer: str, dtype: torch.dtype = torch.float64) -> Trainee:
    student = make_task_student(name, dtype)
    wanted = [param for param in student.parameters() if param.requires_grad]
    trainee = Trainee(student, OPTIMIZERS[optimizer](wanted), loss=TASKS[name].loss)
    trainee.warm_up([task_samples(name, B, seed, dtype) for seed in (50, 51)])
    return trainee


@functools.cache
def truth_of(name: str, optimizer: str) -> Tensor:
    return real_influences(lambda: trainee_of(name, optimizer), task_samples(name, B, 1), task_samples(name, 7, 2))


def found(estimator: str, name: str, optimizer: str, dtype: torch.dtype = torch.float64) -> Tensor:
    batch, meta = (task_samples(name, n, seed, dtype) for n, seed in ((B, 1), (7, 2)))
    return found_influences(estimator, lambda: trainee_of(name, optimizer, dtype), batch, meta)


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("name", TASKS)
def test_exact_estimators_give_the_derivative_of_real_steps(name: str, optimizer: str) -> None:
    truth = truth_of(name, optimizer)
    for estimator in ("jvp", "unrolled", *(["last_layer"] if TASKS[name].head_only else [])):
        error = relative_error(found(estimator, name, optimizer), truth)
        assert error <= EXACT, f"{estimator} is {error:.1g} off"


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("name", TASKS)
def test_finite_differences_come_near_it(name: str, optimizer: str) -> None:
    truth = truth_of(name, optimizer)
    assert relative_error(found("finite_difference", name, optimizer), truth) <= 1e-6
    in_float32 = found("finite_difference", name, optimizer, torch.float32)
    assert relative_error(in_float32, truth) <= 1e-2
    assert cosine(in_float32, truth) >= 0.9999


@pytest.mark.parametrize("name", ["lstm", "gru", "tokens", "regression with a variance"])
def test_jvp_in_float32(name: str) -> None:
    """An LSTM's kernel on the CPU has no forward mode in float32; another gives the same values, with one."""
    assert relative_error(found("jvp", name, "nesterov", torch.float32), truth_of(name, "nesterov")) <= 1e-4
