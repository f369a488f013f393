"""A gate that is held long is no failure: ranks that wait at it hear from one another."""

from __future__ import annotations

from pathlib import Path

import held_gate
import pytest
from processes import found_by_ranks


@pytest.mark.slow
def test_ranks_at_a_held_gate_do_not_take_one_another_for_dead(tmp_path: Path) -> None:
    for found in found_by_ranks(held_gate.rank_main, tmp_path):
        assert found["seconds"] >= held_gate.HELD
        assert found["goes on"]
        assert found["saved"] == 1
