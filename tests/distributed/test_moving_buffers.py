"""Influences are those of the buffers that the training forward pass met, which may be rank 0's."""

from __future__ import annotations

from typing import Any

import moving_buffers
import pytest
import torch
from moving_buffers import STEPS, WAYS
from processes import found_by_ranks


@pytest.fixture(scope="module")
def ranks(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    return found_by_ranks(moving_buffers.rank_main, tmp_path_factory.mktemp("moving"))


@pytest.mark.parametrize("rank", [0, 1])
@pytest.mark.parametrize("way", WAYS)
def test_influences_add_up(way: str, rank: int, ranks: list[dict[str, Any]]) -> None:
    for buffers in ("found", "apart"):
        assert ranks[rank][way][buffers]["counts"] == (STEPS, 0, 0), buffers
    assert not torch.equal(ranks[0][way]["apart"]["mean"], ranks[1][way]["apart"]["mean"])


@pytest.mark.parametrize("rank", [0, 1])
@pytest.mark.parametrize("way", WAYS)
def test_nobody_looks_before_the_buffers_are_everybodys(way: str, rank: int, ranks: list[dict[str, Any]]) -> None:
    found, expected = ranks[rank][way]["found"], ranks[rank][way]["by hand"]
    for what in ("influences", "sample weights", "mean"):
        assert torch.equal(found[what], expected[what]), what
    assert float(expected["influences"].abs().max()) > 1e-3
