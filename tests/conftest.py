"""What all tests share: one torch thread, a small data set, a run that nothing befell, and a Ray of their own."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import accidents
import hypothesis
import pytest
import ray
import torch
from made_once import made_once
from small_jobs import outside_of_ray_train  # noqa: F401 - a fixture
from small_runs import make_small_splits, outcome_of, trainer_for

from ray_mentor.data import Splits
from ray_mentor.on_ray.session.environment import ENVIRONMENT
from ray_mentor.on_ray.train import places
from ray_mentor.run.outcome import Outcome
from ray_mentor.wording import in_options

pytest_plugins = ("one_ray", "not_tested_here")

ray.cloudpickle.register_pickle_by_value(accidents)  # type: ignore[attr-defined]
torch.set_num_threads(1)  # the machines that run these tests have few cores, and rounding depends on the number
hypothesis.settings.register_profile("busy", deadline=None)  # an example takes as long as the machine is busy
hypothesis.settings.load_profile("busy")
os.environ.update({**ENVIRONMENT, **os.environ})  # for the Rays that are started here


@pytest.fixture(scope="session", autouse=True)
def options_in_messages() -> Iterator[None]:
    """Tests pin messages as they are written; ``tests/test_words.py`` is about what a script gets to read."""
    with in_options():
        yield


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


_THEIRS = ("RAY_", "PYTEST_", "PYTHONBREAKPOINT", "TORCHINDUCTOR_", "KMP_", "CRC32C_")  # beginnings of names


def _surroundings() -> dict[str, object]:
    """What Ray, torch and pytest set for themselves aside."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith(_THEIRS)}
    torch_has = {"threads": torch.get_num_threads(), "dtype": torch.get_default_dtype()}
    return {**environment, **torch_has, "working directory": os.getcwd()}


@pytest.fixture(scope="session")
def small_splits() -> Splits:
    return make_small_splits()


@pytest.fixture(scope="session")
def undisturbed_storage(local_ray: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where a run of two workers lies that nothing befell: ``run``, the rows it showed, and its mentor's calls."""

    def make(folder: Path) -> None:
        rows: list[dict[str, Any]] = []
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(places, "MentorActor", accidents.mentor_that_meets(str(folder), {}))
            trainer_for(make_small_splits(), folder, "run", workers=2).fit(rows.append)
        (folder / "rows.json").write_text(json.dumps(rows))

    return made_once(tmp_path_factory, "undisturbed", make)


@pytest.fixture(scope="session")
def undisturbed(undisturbed_storage: Path) -> Outcome:
    """That run, which those that something befell are compared with."""
    return outcome_of(undisturbed_storage / "run")
