"""Two students on two workers of a real Ray: what one process does, bit for bit the same after a worker has died."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from accidents import Accident, AtStep
from small_runs import assert_one_row_per_sample_and_epoch, assert_same_run, trainer_for
from test_two_students import METHODS

from ray_mentor.data import Splits
from ray_mentor.run.outcome import Outcome

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("local_ray")]


@pytest.mark.parametrize("method", METHODS)
def test_a_worker_that_dies_in_mid_epoch_changes_nothing(method: str, small_splits: Splits, tmp_path: Path) -> None:
    def run(name: str, **changes: Any) -> Outcome:
        given = {"curriculum": METHODS[method], "checkpoint_steps": 3, "workers": 2, **changes}
        return trainer_for(small_splits, tmp_path, name, **given).fit()

    whole, accident = run("whole"), Accident(str(tmp_path), "armed").arm()
    mended = run("mended", optimizer=AtStep(((1, 13, accident),)))
    assert accident.happened
    assert_same_run(mended, whole)
    assert_one_row_per_sample_and_epoch(mended.ledger(), small_splits)
    assert {"test_accuracy_first", "test_accuracy_second"} <= mended.result.keys()
    if method == "co-teaching":  # dividemix mixes within a worker's share of a batch
        alone = run("alone", workers=0)
        for key, value in alone.student_state.items():
            torch.testing.assert_close(whole.student_state[key].cpu(), value, rtol=1e-4, atol=1e-5)
        assert whole.metrics[-1]["loss"] == pytest.approx(alone.metrics[-1]["loss"], rel=1e-4)
