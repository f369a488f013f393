"""Ranks that split the loss history see what one whole table would have shown them, bit for bit."""

from __future__ import annotations

from typing import Any

import pytest
import split_histories
import torch
from bare_states import values_after
from processes import found_by_ranks
from split_histories import CASES, CHAIN, CHAIN_STEPS, INSIDE, SAMPLES, WORLDS, by_hand, push_and_look

from ray_mentor.core.exchange import Alone
from ray_mentor.core.history.table import LossHistory


@pytest.fixture(scope="module")
def ranks(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    return found_by_ranks(split_histories.rank_main, tmp_path_factory.mktemp("ranks"), max(CHAIN))


@pytest.mark.parametrize("case", CASES, ids=str)
def test_one_rank_sees_what_a_list_per_sample_says(case: tuple[int, torch.dtype, bool]) -> None:
    length, dtype, known = case
    seen = push_and_look(LossHistory(SAMPLES, length), Alone(), dtype, known=known)
    for found, expected in zip(seen, by_hand(length, dtype), strict=True):
        assert torch.equal(found.double(), expected)


@pytest.mark.parametrize("world", WORLDS)
@pytest.mark.parametrize("case", CASES, ids=str)
def test_all_ranks_see_what_one_sees(
    world: int, case: tuple[int, torch.dtype, bool], ranks: list[dict[str, Any]]
) -> None:
    length, dtype, known = case
    whole = LossHistory(SAMPLES, length)
    expected = push_and_look(whole, Alone(), dtype, known=known)
    found = [results[str((world, *case))] for results in ranks[:world]]
    for seen, _ in found:
        for one, other in zip(seen, expected, strict=True):
            assert one.dtype == other.dtype
            assert torch.equal(one, other)
    parts = [table for _, table in found]
    assert sum(map(len, parts)) == SAMPLES
    assert max(map(len, parts)) - min(map(len, parts)) <= 1
    assert torch.equal(torch.cat(parts).nan_to_num(-1), whole.table.nan_to_num(-1))


@pytest.mark.parametrize("inside", range(len(INSIDE)), ids=["files of its own", "inside"])
@pytest.mark.parametrize("stage", range(len(CHAIN)))
def test_a_run_goes_on_with_other_numbers_of_ranks(stage: int, inside: int, ranks: list[dict[str, Any]]) -> None:
    """None lost, none counted twice: 1, 2, 3 and 1 ranks, each from the checkpoint of those before."""
    parts = [results[f"chain {stage}"][inside] for results in ranks[: CHAIN[stage]]]
    whole = torch.cat(parts).nan_to_num(-1)
    assert torch.equal(whole, values_after((stage + 1) * CHAIN_STEPS, SAMPLES, 3))
