"""A plain data-parallel loop on two ranks with uneven shares is the loop of one process with the joined batch."""

from __future__ import annotations

from typing import Any

import own_loops
import pytest
import torch
from own_loops import SCENARIOS, SHARES, WRONG
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


@pytest.mark.parametrize("name", [name for name in WRONG if "later" not in name and "error" not in name])
def test_all_ranks_refuse_together(name: str, ranks: list[Results]) -> None:
    """At the first step, in burn-in too, with the same sums in the message."""
    first, second = (results["wrong"][name]["error"] for results in ranks)
    assert first.startswith("UserError: the influences of this step do not add up: weighted they sum to ")
    assert first == second


def test_an_error_of_one_rank_ends_all(ranks: list[Results]) -> None:
    first, second = (results["wrong"]["an error of one rank"]["error"] for results in ranks)
    assert first == "UserError: the influences could not be computed on another rank; its error says why"
    assert second == "RuntimeError: no more"


def test_what_is_found_later_is_skipped_on_all_ranks(ranks: list[Results]) -> None:
    first, second = (results["wrong"]["a mask of one rank's own, later"] for results in ranks)
    assert first["counts"] == second["counts"] == (3, 3)
    assert first["mentors"] == second["mentors"]
    for found in (first, second):
        assert [bool(influence.isnan().all()) for influence in found["influences"]] == [False, True, True, True]


def test_a_batch_without_samples_is_refused_on_all_ranks(ranks: list[Results]) -> None:
    for found in ranks:
        assert found["nobody"] == "the batch holds no sample; leave it out, on every rank alike"
