"""Two workers that draw from several sources: the same shares as one process, and the same bits when they go on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from accidents import breaking
from mixed_runs import mixed_trainer, sources
from small_runs import assert_same_run, carried

from ray_mentor.errors import UserError

pytestmark = [pytest.mark.usefixtures("local_ray"), pytest.mark.slow]

SHORT: dict[str, Any] = {"epochs": 3, "checkpoint_steps": 4}


def test_two_workers_go_on_to_the_same_bits_and_learn_what_one_learns(tmp_path: Path) -> None:
    whole = mixed_trainer(tmp_path, "whole", workers=2, **SHORT).fit()
    broken = tmp_path / "broken"
    broken.touch()
    changes: dict[str, Any] = {"workers": 2, "optimizer": breaking(str(broken), after_steps=19), **SHORT}
    with pytest.raises(UserError):
        mixed_trainer(tmp_path, "broke", **changes).fit()
    broken.unlink()
    outcome = mixed_trainer(tmp_path, "broke", resume=True, **changes).fit()
    assert_same_run(outcome, whole)
    alone = mixed_trainer(tmp_path, "alone", **SHORT).fit()
    for one, two in zip(*(carried(each)["mixture"]["updates"] for each in (alone, whole)), strict=True):
        for name in sources():
            np.testing.assert_allclose(two["influence"][name], one["influence"][name], rtol=0.02, atol=1e-4)
            np.testing.assert_allclose(two["shares"][name], one["shares"][name], rtol=1e-3)
    ledger = whole.ledger()
    assert set(ledger["domain"].to_pylist()) == set(sources())
    assert torch.equal(torch.tensor(ledger["step"].to_numpy()).bincount(), torch.full((30,), 30))
