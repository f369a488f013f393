"""What all tests share: one torch thread, a small data set, and a Ray of their own."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
import ray
import torch
from small_runs import make_small_splits

from ray_mentor.data import Splits
from ray_mentor.on_ray.environment import set_environment

torch.set_num_threads(1)  # the machines that run these tests have few cores, and rounding depends on the number
set_environment()


@pytest.fixture(autouse=True)
def nothing_leaks() -> Iterator[None]:
    """No test may leave another folder, other environment variables or other torch settings behind."""
    before = _surroundings()
    yield
    after = _surroundings()
    changed = {
        name: (before.get(name), after.get(name)) for name in before | after if before.get(name) != after.get(name)
    }
    assert not changed, "the test changed these (before, after)"


_THEIRS = ("RAY_", "PYTEST_", "PYTHONBREAKPOINT", "TORCHINDUCTOR_", "KMP_")  # beginnings of names


def _surroundings() -> dict[str, object]:
    """What Ray, torch and pytest set for themselves aside."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith(_THEIRS)}
    torch_has = {"threads": torch.get_num_threads(), "dtype": torch.get_default_dtype()}
    return {**environment, **torch_has, "working directory": os.getcwd()}


@pytest.fixture(scope="module")
def local_ray() -> Iterator[None]:
    """A Ray with 2 CPUs and a dashboard, for one test module."""
    ray.init(
        address="local",
        num_cpus=2,
        include_dashboard=True,
        dashboard_host="127.0.0.1",
        configure_logging=False,
        log_to_driver=False,
    )
    yield
    ray.shutdown()


@pytest.fixture(scope="session")
def small_splits() -> Splits:
    return make_small_splits()
