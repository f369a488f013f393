"""A run of two workers that nothing befell, which those that something befell are compared with."""

from __future__ import annotations

from pathlib import Path

import pytest
from driver import Driver
from small_runs import outcome_of

from ray_mentor.on_ray.outcome import Outcome


@pytest.fixture(scope="session")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Outcome:
    storage: Path = tmp_path_factory.mktemp("undisturbed")
    driver = Driver(storage, "run", workers=2)
    try:
        assert driver.wait() == 0, driver.log.read_text()
    finally:
        driver.end()
    return outcome_of(driver.run)
