"""Students that change something in their forward pass, or draw from where nobody looks: exact, or refused."""

from __future__ import annotations

import functools
import pickle
import random

import numpy as np
import pytest
import torch
from awkward_students import REPEATABLE, UNREPEATABLE
from real_steps import SEED, copied, found_influences, real_influences
from stop_gradients import stop_samples
from taken_steps import Trainee, direction, imbalance, influences, relative_error
from torch import Tensor
from torch.optim import SGD

from ray_mentor.core.influence.estimators import make_estimator

EXACT = 1e-6  # of the truth's own differences
B = 9
REPLAYING = ("jvp", "finite_difference", "unrolled")


def trainee_of(name: str) -> Trainee:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        student = (REPEATABLE | UNREPEATABLE)[name]().double().train()
    random.seed(SEED)
    np.random.seed(SEED)  # noqa: NPY002 - what such students draw from
    trainee = Trainee(student, SGD(student.parameters(), lr=0.1, momentum=0.9))
    trainee.warm_up([stop_samples(B, 50)])
    return trainee


@functools.cache
def truth_of(name: str) -> Tensor:
    return real_influences(lambda: trainee_of(name), stop_samples(B, 1), stop_samples(7, 2))


def found(estimator: str, name: str) -> Tensor:
    return found_influences(estimator, lambda: trainee_of(name), stop_samples(B, 1), stop_samples(7, 2))


def states() -> list[bytes]:
    """Of Python's, NumPy's and PyTorch's global generators."""
    return [pickle.dumps(state) for state in (random.getstate(), np.random.get_state(), torch.get_rng_state().tolist())]  # noqa: NPY002


@pytest.mark.parametrize("estimator", REPLAYING)
@pytest.mark.parametrize("name", REPEATABLE)
def test_all_global_generators_are_replayed(name: str, estimator: str) -> None:
    assert relative_error(found(estimator, name), truth_of(name)) <= EXACT


@pytest.mark.parametrize("estimator", REPLAYING)
@pytest.mark.parametrize("name", REPEATABLE)
def test_all_global_generators_end_as_they_began(name: str, estimator: str) -> None:
    made, trainee = make_estimator(estimator), trainee_of(name)
    trainee.step(made, copied(stop_samples(B, 1)))
    before = states()
    influences(made, trainee, stop_samples(7, 2))
    assert states() == before
    trainee.student(stop_samples(B, 1)[0])
    assert states() != before


@pytest.mark.parametrize("estimator", REPLAYING)
@pytest.mark.parametrize("name", [*REPEATABLE, *UNREPEATABLE])
def test_the_sum_of_influences_tells_what_cannot_be_repeated(name: str, estimator: str) -> None:
    """The influences of these students are far off, and so is Σ ŵ_i s_i from ⟨D∇M, g⟩: whoever looks must notice."""
    made, trainee, meta = make_estimator(estimator), trainee_of(name), stop_samples(7, 2)
    with torch.random.fork_rng(devices=[]):
        trainee.step(made, copied(stop_samples(B, 1)))
        balance = imbalance(trainee, influences(made, trainee, meta), direction(trainee, meta))
    off = relative_error(found(estimator, name), truth_of(name))
    assert off > 0.05 if name in UNREPEATABLE else off <= EXACT
    assert balance > 1e-3 if name in UNREPEATABLE else balance <= EXACT
