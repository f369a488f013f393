"""What all tests share: one torch thread, a small data set, a run that nothing befell, and a Ray of their own."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import ray
import torch
from driver import Driver
from made_once import made_once
from small_jobs import outside_of_ray_train  # noqa: F401 - a fixture
from small_runs import make_small_splits, outcome_of

from ray_mentor.data import Splits
from ray_mentor.on_ray.session.environment import ENVIRONMENT
from ray_mentor.run.outcome import Outcome

HERE = Path(__file__).parent
FIRST = ("faults", "on_ray")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files that take minutes come first: then no process is left alone with one of them at the end."""
    items.sort(key=lambda item: item.path.relative_to(HERE).parts[0] not in FIRST)


torch.set_num_threads(1)  # the machines that run these tests have few cores, and rounding depends on the number
os.environ.update({**ENVIRONMENT, **os.environ})  # for the Rays that are started here


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
    with a_ray(dashboard=True):
        yield


@pytest.fixture(scope="module")
def bare_ray() -> Iterator[None]:
    """The same without the dashboard, a dozen processes, for actors of ours alone: Ray Train and Tune need it."""
    with a_ray(dashboard=False):
        yield


@contextmanager
def a_ray(*, dashboard: bool) -> Iterator[None]:
    ray.init(
        address="local",
        num_cpus=2,
        include_dashboard=dashboard,
        dashboard_host="127.0.0.1",
        configure_logging=False,
        log_to_driver=False,
    )
    yield
    ray.shutdown()


@pytest.fixture(scope="session")
def small_splits() -> Splits:
    return make_small_splits()


@pytest.fixture(scope="session")
def undisturbed_storage(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where a run of two workers lies that nothing befell: ``run``, the rows it showed, and its mentor's calls."""

    def make(folder: Path) -> None:
        driver = Driver(folder, "run", workers=2, calls=str(folder))
        try:
            assert driver.wait() == 0, driver.log.read_text()
        finally:
            driver.end()

    return made_once(tmp_path_factory, "undisturbed", make)


@pytest.fixture(scope="session")
def undisturbed(undisturbed_storage: Path) -> Outcome:
    """That run, which those that something befell are compared with."""
    return outcome_of(undisturbed_storage / "run")
