"""Two students on two ranks with uneven shares of a batch learn what they learn in one process."""

from __future__ import annotations

from typing import Any

import pairs_on_ranks
import pytest
import torch
from pairs_on_ranks import SCENARIOS, STEPS
from processes import found_by_ranks
from test_two_ranks import assert_close

Results = dict[str, Any]


@pytest.fixture(scope="module")
def ranks(tmp_path_factory: pytest.TempPathFactory) -> list[Results]:
    return found_by_ranks(pairs_on_ranks.rank_main, tmp_path_factory.mktemp("ranks"))


@pytest.fixture(scope="module")
def one() -> Results:
    return pairs_on_ranks.alone()


@pytest.mark.parametrize("name", SCENARIOS)
def test_two_uneven_ranks_equal_one(name: str, ranks: list[Results], one: Results) -> None:
    for step in range(STEPS):
        first, second, alone = (results[name][step] for results in (*ranks, one))
        for key in ("params", "buffers", "gradients", "found", "store"):
            for rank in (first, second):
                assert_close(rank[key], alone[key], f"step {step}, {key}", 1e-5)
        for key in ("losses", "sample weights"):
            assert_close(torch.cat([first[key], second[key]]), alone[key], f"step {step}, {key}", 1e-5)


@pytest.mark.parametrize("name", SCENARIOS)
def test_both_ranks_hold_the_same_bits(name: str, ranks: list[Results]) -> None:
    for first, second in zip(ranks[0][name], ranks[1][name], strict=True):
        for key in ("params", "gradients", "found"):
            assert first[key].keys() == second[key].keys()
            assert all(torch.equal(first[key][part], second[key][part]) for part in first[key]), key


@pytest.mark.parametrize("name", SCENARIOS)
def test_the_two_students_were_told_different_things(name: str, one: Results) -> None:
    """Else their agreement would say little: means of two weights that differ lie between 0 and 1."""
    weights = torch.cat([step["sample weights"] for step in one[name]])
    assert ((weights > 0) & (weights < 1)).any(), weights
    assert bool(one[name][-1]["found"]) == name.startswith("dividemix")
