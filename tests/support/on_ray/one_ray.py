"""Tests that start Ray are marked ``ray``, no others start one, and those of a process share one.

Hooks of pytest's, for conftest.py. Marked by themselves are the tests that ask for one of :data:`STARTS`; a test that
starts a Ray in a process of its own says so, as does one that finds out in the middle, ``ray(shared=True)``.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Generator, Iterator

import pytest
import ray

from ray_mentor.on_ray.session.session import start_patiently

STARTS = ("local_ray", "head")
"""Fixtures that start Ray."""

LONG = {
    "faults",
    "distributed",
    "hostile",
    "packaging",
    "cluster",
    "test_sweep_page_in_a_browser",
    "test_examples",
    "test_layers",
    "test_lightning",
    "test_platforms",
}
"""Folders and files whose tests take processes of their own; they are marked, too."""

REFUSE = {"RAY_GCS_SERVER_VALGRIND": "1", "RAY_GCS_SERVER_VALGRIND_PROFILER": "1"}
"""Environment variables with which Ray refuses to start its server, in every process that inherits them."""


@pytest.fixture(scope="session")
def local_ray() -> Iterator[None]:
    """A Ray with 2 CPUs and a dashboard in this process, for all tests that ask for one."""
    _start()  # again, later on, by the hook below, where a test had none in between
    yield
    ray.shutdown()


def _start() -> None:
    if ray.is_initialized():
        return
    start_patiently(
        functools.partial(
            ray.init,
            address="local",
            num_cpus=2,
            dashboard_host="127.0.0.1",
            configure_logging=False,
            log_to_driver=False,
            _system_config={"metrics_report_interval_ms": 1000},  # not 10 seconds, which a test would wait for
        )
    )


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Marks; and those that share a Ray come first, then those with one of their own, in folders that take longest."""
    for item in items:
        if set(STARTS) & set(_fixtures(item)):
            item.add_marker("ray")
        if LONG & {*item.path.parts, item.path.stem}:
            item.add_marker("long")
    items.sort(key=_turn)


def _turn(item: pytest.Item) -> tuple[bool, bool, bool]:
    minutes = not {"faults", "on_ray"}.isdisjoint(item.path.parts)
    return not _starts(item), not minutes, not _shares(item)


def _starts(item: pytest.Item) -> bool:
    return item.get_closest_marker("ray") is not None


def _shares(item: pytest.Item) -> bool:
    mark = item.get_closest_marker("ray")
    return "local_ray" in _fixtures(item) or (mark is not None and bool(mark.kwargs.get("shared")))


def _fixtures(item: pytest.Item) -> list[str]:
    return list(getattr(item, "fixturenames", ()))


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    """Gives a test the Ray that it asks for, or sees to it that there is none: those that start one begin without."""
    if _shares(item):
        _start()
    else:
        ray.shutdown()
    if _starts(item):
        return (yield)
    os.environ.update(REFUSE)
    try:
        return (yield)
    finally:
        for name in REFUSE:
            os.environ.pop(name, None)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Says what Ray's error means that :data:`REFUSE` is the cause of."""
    report = yield
    if report.failed and "use_valgrind_profiler" in f"{report.longrepr} {report.capstderr}":
        report.sections.append(("Ray", "a test that starts one has to be marked: pytest.mark.ray"))
    return report
