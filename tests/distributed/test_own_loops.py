"""A plain data-parallel loop on two ranks with uneven shares is the loop of one process with the joined batch."""

from __future__ import annotations

from typing import Any

import own_loops
import pytest
import torch
from own_loops import SCENARIOS, SHARES
from processes import found_by_ranks

Results = dict[str, Any]


def known(values: list[float | None]) -> list[float]:
    return [value for value in values if value is not None]


@pytest.fixture(scope="module")
def ranks(tmp_path_factory: pytest.TempPathFactory) -> list[Results]:
    return found_by_ranks(own_loops.rank_main, tmp_path_factory.mktemp("ranks"))


@pytest.mark.parametrize("name", SCENARIOS)
def test_two_uneven_ranks_equal_one(name: str, ranks: list[Results]) -> None:
    expected = own_loops.run(name, 1)
    first, second = (results[name] for results in ranks)
    for found in (first, second):
        for part in ("student", "mentor"):
            for key, value in expected[part].items():
                torch.testing.assert_close(found[part][key], value, rtol=1e-4, atol=1e-5, msg=f"{part}, {key}")
        assert known(found["meta loss"]) == pytest.approx(known(expected["meta loss"]), rel=1e-4)
    for key in ("influence", "sample weights"):
        for mine, theirs, joined in zip(first[key], second[key], expected[key], strict=True):
            assert (len(mine), len(theirs)) == SHARES
            torch.testing.assert_close(torch.cat([mine, theirs]), joined, rtol=1e-3, atol=1e-5, equal_nan=True)
    assert max(float(value.nan_to_num().abs().max()) for value in expected["influence"]) > 1e-3


@pytest.mark.parametrize("name", SCENARIOS)
def test_both_ranks_hold_the_same_bits(name: str, ranks: list[Results]) -> None:
    for part in ("student", "mentor"):
        first, second = (results[name][part] for results in ranks)
        assert all(torch.equal(first[key], second[key]) for key in first), part
