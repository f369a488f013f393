"""What all tests share: one torch thread, a small data set, and a Ray of their own."""

from __future__ import annotations

import os
from collections.abc import Iterator

import numpy as np
import pytest
import ray
import torch

from ray_mentor.data import FeatureInputs, Samples, Splits, add_noise
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
    """Three blobs in eight dimensions: 150 training samples, 30 % of whose labels are wrong, learnt in seconds."""
    draw = np.random.default_rng(0)
    centres = 2.5 * draw.standard_normal((3, 8))

    def blobs(n: int, first_id: int) -> Samples:
        labels = np.arange(n) % 3
        values = (centres[labels] + draw.standard_normal((n, 8))).astype(np.float32)
        return Samples(FeatureInputs(values), first_id + np.arange(n), labels, labels, ("a", "b", "c"))

    train, validation = (add_noise(blobs(n, first), "symmetric", 0.3, 0, i) for i, (n, first) in enumerate(_NOISY))
    return Splits(train, validation, blobs(30, 30_000), blobs(90, 40_000), ())


_NOISY = ((150, 10_000), (45, 20_000))  # sizes and first ids of the splits whose labels are not trusted
