"""Workers that fail more often than max_failures, one of them by a step that hangs, and get on in between."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
import ray
from accidents import Accident, AtStep
from small_runs import STEPS, UNMIXED, assert_same_run, trainer_for

from ray_mentor.data import Splits

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("local_ray")]

ray.cloudpickle.register_pickle_by_value(sys.modules[__name__])  # type: ignore[attr-defined]

HANG_SECONDS = 30  # in which a mentor must start, where other tests keep all cores busy


def test_a_worker_that_fails_again_and_again_and_gets_on(small_splits: Splits, tmp_path: Path) -> None:
    """Killed, killed again, then hung: each time there is a newer checkpoint, and one failure is allowed."""
    what = ("kill", "kill", "hang")
    armed = [Accident(str(tmp_path), f"accident {number}", kind).arm() for number, kind in enumerate(what)]
    steps = AtStep(tuple((0, 3 + number, accident) for number, accident in enumerate(armed)))
    rows: list[dict[str, Any]] = []
    outcome = trainer_for(
        small_splits,
        tmp_path,
        "run",
        workers=1,
        curriculum=UNMIXED,
        optimizer=steps,
        checkpoint_steps=1,
        max_failures=1,
        hang_seconds=HANG_SECONDS,
    ).fit(rows.append)
    assert all(accident.happened for accident in armed)
    assert [row["progress"] for row in rows if row["kind"] == "started"] == [0.0, 2 / STEPS, 5 / STEPS, 9 / STEPS]
    notes = [row["text"] for row in rows if row["kind"] == "note"]
    (hangs,) = [note for note in notes if note.startswith("worker 0 hangs: ")]
    assert f"nothing for {HANG_SECONDS} s, in meet (" in hangs
    assert len([note for note in notes if note.startswith("failed: ")]) == 3
    assert_same_run(outcome, trainer_for(small_splits, tmp_path, "whole", curriculum=UNMIXED).fit())
