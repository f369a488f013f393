"""Two ranks with uneven shares of a batch do what one process does with the joined batch."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import two_ranks
from processes import found_by_ranks
from torch import Tensor, nn
from two_ranks import SCENARIOS, SHARES, STEPS, VALUES, norm_facts

from ray_mentor.core.student.sync_batch_norm import GlobalBatchNorm, synchronised

Results = dict[str, Any]


@pytest.fixture(scope="module")
def ranks(tmp_path_factory: pytest.TempPathFactory) -> list[Results]:
    return found_by_ranks(two_ranks.rank_main, tmp_path_factory.mktemp("ranks"))


@pytest.fixture(scope="module")
def one() -> Results:
    return two_ranks.alone()


def assert_close(found: Any, expected: Any, where: str, tolerance: float = 1e-6) -> None:
    """‖found − expected‖ ≤ tolerance·max(‖expected‖, 1)."""
    if isinstance(expected, dict):
        assert found.keys() == expected.keys(), where
        for key in expected:
            assert_close(found[key], expected[key], f"{where}, {key}", tolerance)
    elif isinstance(expected, Tensor):
        assert found.shape == expected.shape, where
        assert torch.equal(found.isnan(), expected.isnan()), where
        found, expected = found.detach().double(), expected.detach().double()
        error = (found - expected).nan_to_num().norm()
        assert error <= tolerance * max(float(expected.nan_to_num().norm()), 1.0), (where, float(error))
    elif expected is None:
        assert found is None, where
    else:
        assert found == pytest.approx(expected, rel=tolerance), where


SHARED = (
    *("params", "buffers", "gradients", "percentile", "meta loss", "influence of all", "mentor", "hypergradient"),
    *("fallbacks", "skipped updates", "class shares"),
)
PER_SAMPLE = ("losses", "sample weights", "influence")


@pytest.mark.parametrize("name", SCENARIOS)
def test_two_uneven_ranks_equal_one(name: str, ranks: list[Results], one: Results) -> None:
    for step in range(STEPS):
        first, second, alone = (results[name][step] for results in (*ranks, one))
        for key in SHARED:
            for rank in (first, second):
                assert_close(rank[key], alone[key], f"step {step}, {key}")
        for rank in (first, second):  # sums over all params of what differs by rounding
            assert rank["settings"] == pytest.approx(alone["settings"], rel=1e-3, abs=1e-7)
            assert rank["settings"] == first["settings"]
        assert len(alone["settings"]) >= 3 or alone["meta loss"] is None
        for key in PER_SAMPLE:
            assert (len(first[key]), len(second[key])) == SHARES
            assert_close(torch.cat([first[key], second[key]]), alone[key], f"step {step}, {key}")


@pytest.mark.parametrize("name", SCENARIOS)
def test_both_ranks_hold_the_same_bits(name: str, ranks: list[Results]) -> None:
    for first, second in zip(ranks[0][name], ranks[1][name], strict=True):
        for key in ("params", "gradients", "mentor"):
            assert all(torch.equal(first[key][part], second[key][part]) for part in first[key]), key
        for key in ("percentile", "fallbacks", "skipped updates", "class shares"):
            assert first[key] == second[key], key
        assert torch.equal(first["influence of all"], second["influence of all"])


def test_guards_were_needed_now_and_then(one: Results) -> None:
    """Else their agreement would say little."""
    for name in ("mlp, weights that count as collapsed", "mlp, a class that counts as shut out"):
        assert 0 < one[name][-1]["fallbacks"] < STEPS, (name, one[name][-1]["fallbacks"])
    skipped = [step["skipped updates"] for step in one["mlp, a meta batch that is not finite"]]
    assert skipped == [0, 0, 1, 1, 1, 1]


def test_influences_are_neither_small_nor_all_alike(one: Results) -> None:
    """Else their agreement would say little."""
    for name in SCENARIOS:
        influence = one[name][0]["influence"]
        assert influence.std() > 0.1 * influence.abs().mean() > 1e-4, name


def test_batch_norm_counts_each_step_once(ranks: list[Results]) -> None:
    for results in ranks:
        counts = [step["buffers"]["1.num_batches_tracked"] for step in results["synchronised batch norm"]]
        assert counts == list(range(1, STEPS + 1))


def test_a_bad_sample_on_one_rank_stops_both(ranks: list[Results], one: Results) -> None:
    assert "sample ids 107)" in one["stopped"]
    assert [results["stopped"] for results in ranks] == 2 * [one["stopped"]]


def test_exchange(ranks: list[Results]) -> None:
    for results in ranks:
        found = results["exchange"]
        assert found["sizes"] == (3, 0)
        assert torch.equal(found["rows"], torch.zeros(3, 2))
        assert found["total"] == 2
        assert found["word"] == "from 0"
        assert found["values"] == [repr(value) for value in VALUES]
        assert found["floats"].tolist() == [0, 0]


class TestGlobalBatchNorm:
    """Its outputs, derivatives and running statistics, in float64."""

    def test_on_two_ranks_it_is_batch_norm_of_the_joined_batch(self, ranks: list[Results], one: Results) -> None:
        first, second = (results["norm"] for results in ranks)
        truth = one["norm"]
        for key in ("outputs", "tangent", "in evaluation"):
            assert_close(torch.cat([first[key], second[key]]), truth[key], key, 1e-12)
        for rank in (first, second):
            assert_close(rank["buffers"], truth["buffers"], "buffers", 1e-12)

    def test_forward_mode_equals_a_central_difference(self, ranks: list[Results]) -> None:
        for results in ranks:
            assert_close(results["norm"]["tangent"], results["norm"]["difference"], "tangent", 1e-8)

    def test_gradients(self, ranks: list[Results], one: Results) -> None:
        first, second = (results["norm"]["gradients"] for results in ranks)
        truth = one["norm"]["gradients"]
        assert_close(torch.cat([first["x"], second["x"]]), truth["x"], "x", 1e-12)
        for name in ("weight", "bias"):
            assert_close(first[name] + second[name], truth[name], name, 1e-12)

    def test_in_one_process_it_is_plain_batch_norm(self) -> None:
        found, truth = norm_facts(GlobalBatchNorm, None), norm_facts(nn.BatchNorm2d, None)
        for key in truth:
            assert_close(found[key], truth[key], key, 0.0)

    @pytest.mark.parametrize("options", [{}, {"affine": False}, {"track_running_stats": False}, {"momentum": None}])
    def test_synchronised_takes_a_batch_norm_over_as_it_is(self, options: dict[str, Any]) -> None:
        student = nn.Sequential(nn.Linear(2, 3), nn.ModuleDict({"norm": nn.BatchNorm1d(3, **options)})).double()
        norm = student[1]["norm"].eval()
        norm.requires_grad_(False)
        state = dict(student.state_dict())
        made = synchronised(student)[1]["norm"]
        assert isinstance(made, GlobalBatchNorm)
        assert not made.training
        assert student[0].training
        assert all(not param.requires_grad for param in made.parameters())
        assert student.state_dict().keys() == state.keys()
        assert all(torch.equal(value, state[name]) for name, value in student.state_dict().items())
        assert (made.eps, made.momentum, made.affine) == (norm.eps, norm.momentum, norm.affine)
        assert synchronised(student)[1]["norm"] is made

    def test_a_student_that_is_a_batch_norm(self) -> None:
        assert isinstance(synchronised(nn.BatchNorm1d(3)), GlobalBatchNorm)
