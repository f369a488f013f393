"""Two runs in threads of one process: on one Ray, there for both, each by its own settings, without a trace."""

from __future__ import annotations

import os
import sys
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import ray
import torch
from ray.train.v2._internal import constants
from small_runs import assert_same_bits, trainer_for

from ray_mentor.data import Splits
from ray_mentor.run.outcome import Outcome

ray.cloudpickle.register_pickle_by_value(sys.modules[__name__])  # type: ignore[attr-defined]

TIMEOUT = "RAY_TRAIN_WORKER_HEALTH_CHECK_TIMEOUT_S"


def of_ray() -> dict[str, str]:
    """This process's variables that are told to Ray and gloo; libraries set some others for themselves."""
    return {name: value for name, value in os.environ.items() if name.startswith(("RAY_", "GLOO_"))}


@dataclass(frozen=True)
class Writes:
    """An optimizer that writes its process's variables of Ray's into a file when it is made."""

    file: str

    def __call__(self, params: Any) -> torch.optim.Optimizer:
        Path(self.file).write_text("\n".join(f"{name}={value}" for name, value in of_ray().items()))
        return torch.optim.SGD(params, lr=0.02)


@pytest.mark.slow
@pytest.mark.ray
def test_two_runs_in_threads(small_splits: Splits, tmp_path: Path) -> None:
    found: dict[int, Outcome] = {}
    seen: dict[int, list[str]] = {}

    def run(hang_seconds: int) -> None:
        name = f"hangs-{hang_seconds}"
        writes = Writes(str(tmp_path / f"{name}.txt"))
        arguments: dict[str, Any] = {"workers": 1, "hang_seconds": float(hang_seconds), "optimizer": writes}
        # the shorter one ends first, and with it what it has set
        found[hang_seconds] = trainer_for(
            small_splits, tmp_path, name, epochs=2 if hang_seconds == 77 else 6, **arguments
        ).fit()
        seen[hang_seconds] = Path(writes.file).read_text().splitlines()

    before, propagated = of_ray(), set(constants.ENV_VARS_TO_PROPAGATE)
    threads = [threading.Thread(target=run, args=(seconds,)) for seconds in (77, 88)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(400)
    assert found.keys() == {77, 88}
    assert of_ray() == before
    assert propagated == constants.ENV_VARS_TO_PROPAGATE
    assert not ray.is_initialized()
    assert f"{TIMEOUT}=77" in seen[77]
    assert f"{TIMEOUT}=88" in seen[88]
    addresses = {line for lines in seen.values() for line in lines if line.startswith("RAY_ADDRESS=")}
    assert len(addresses) == 1, "one Ray served both, and both asked it"

    alone = trainer_for(
        small_splits, tmp_path, "alone", epochs=2, optimizer=Writes(str(tmp_path / "alone.txt")), hang_seconds=77.0
    ).fit()
    assert_same_bits(found[77].student_state, alone.student_state)
