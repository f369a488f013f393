"""From influences to shares: fixed points that are known, guards, and whole numbers of samples."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from numpy.typing import NDArray

from ray_mentor import MixtureConfig
from ray_mentor.core.domains.shares import DomainInfluence, LearnedShares, bounded, first_shares
from ray_mentor.core.domains.windows import Windows, largest_remainder
from ray_mentor.errors import UserError

SETTINGS = MixtureConfig(prior_pull=0.1, shares_rate=0.5, share_floor=0.01, influence_decay=0.9)


def influence(mean: list[float], error: float = 0.0, square: float = 1.0, count: int = 16) -> DomainInfluence:
    values = np.array(mean)
    counts = np.where(np.isnan(values), 0, count)
    return DomainInfluence(values, np.where(np.isnan(values), np.nan, error), counts, square)


def test_sums_give_mean_and_standard_error() -> None:
    draws = np.random.default_rng(0).normal(size=(2, 9))
    found = DomainInfluence.of_sums(draws.sum(1), (draws**2).sum(1), np.array([9, 9]))
    np.testing.assert_allclose(found.mean, draws.mean(1))
    np.testing.assert_allclose(found.error, draws.std(1, ddof=1) / 3)
    assert found.square == pytest.approx((draws**2).mean())


def test_at_rest_shares_are_gibbs() -> None:
    """With constant influences p ∝ prior·exp(−η·S̃/κ), S̃ counted from its mean under p, which drops out."""
    prior, level = np.array([0.5, 0.3, 0.2]), np.array([0.3, -0.1, 0.0])
    learned = LearnedShares(prior, dataclasses.replace(SETTINGS, share_floor=0.0))
    for _ in range(400):
        learned.update(influence(level.tolist()))
    expected = prior * np.exp(-0.5 * level / 0.1)
    np.testing.assert_allclose(learned.shares, expected / expected.sum(), rtol=1e-6)


def test_noise_alone_moves_nothing_far() -> None:
    draw = np.random.default_rng(0)
    learned = LearnedShares(np.ones(4) / 4, SETTINGS)
    for _ in range(300):
        samples = draw.normal(size=(4, 16))
        learned.update(DomainInfluence.of_sums(samples.sum(1), (samples**2).sum(1), np.full(4, 16)))
    assert np.abs(np.log(learned.shares * 4)).max() < 0.35


def test_a_domain_that_is_absent_keeps_what_it_has() -> None:
    learned = LearnedShares(np.ones(3) / 3, SETTINGS)
    learned.update(influence([0.2, -0.2, 0.0]))
    seen = learned.scaled.copy()
    learned.update(influence([0.2, np.nan, 0.0]))
    level = learned.scaled
    assert level[1] < level[2] < level[0]
    np.testing.assert_allclose(level[1] - level[2], seen[1] - seen[2])


def test_a_domain_of_harm_goes_to_the_floor_no_faster_than_by_half() -> None:
    learned = LearnedShares(np.ones(3) / 3, dataclasses.replace(SETTINGS, shares_rate=50.0, prior_pull=0.0))
    shares = [learned.shares]
    for _ in range(12):
        learned.update(influence([3.0, 0.0, 0.0]))
        shares.append(learned.shares)
    steps = np.array(shares)
    ratios = steps[1:] / steps[:-1]
    assert ratios.min() >= 0.5 - 1e-12
    assert ratios.max() <= 2 + 1e-12
    assert steps[-1].tolist() == pytest.approx([0.01, 0.495, 0.495])


def test_what_is_not_finite_is_skipped_and_counted() -> None:
    learned = LearnedShares(np.ones(2) / 2, SETTINGS)
    assert learned.update(influence([np.inf, 0.0])) is None
    assert learned.update(influence([np.nan, np.nan])) is None
    assert (learned.updates, learned.skipped) == (0, 2)
    assert learned.shares.tolist() == [0.5, 0.5]


def test_the_gap_is_what_the_best_domain_would_gain() -> None:
    learned = LearnedShares(np.array([0.25, 0.75]), SETTINGS)
    assert learned.update(influence([-1.0, 3.0])) == pytest.approx(0.25 * -1 + 0.75 * 3 + 1)
    assert LearnedShares(np.array([0.5, 0.5]), SETTINGS).update(influence([2.0, 2.0])) == 0.0


def test_state_goes_on_as_if_nothing_had_been() -> None:
    draw = np.random.default_rng(1)
    given = [influence(draw.normal(size=3).tolist(), error=0.1) for _ in range(8)]
    whole, first = (LearnedShares(np.ones(3) / 3, SETTINGS) for _ in range(2))
    for each in given:
        whole.update(each)
    for each in given[:4]:
        first.update(each)
    second = LearnedShares(np.ones(3) / 3, SETTINGS)
    second.load(first.table())
    for each in given[4:]:
        second.update(each)
    assert second.table() == whole.table()


@pytest.mark.parametrize("bad", [{"shares": [0.5, 0.6, 0.1]}, {"sum": [1.0]}, {"weight": [1.0, float("nan"), 0.0]}])
def test_a_state_that_is_none_is_refused(bad: dict[str, list[float]]) -> None:
    learned = LearnedShares(np.ones(3) / 3, SETTINGS)
    with pytest.raises(UserError, match="of the mixture's state"):
        learned.load({**learned.table(), **bad})


def test_bounded_shares_are_the_nearest_in_relative_entropy() -> None:
    """Beside scipy's minimiser of Σ p·log(p/q) under the same bounds."""
    optimize = pytest.importorskip("scipy.optimize")
    draw = np.random.default_rng(2)
    for _ in range(20):
        wanted = draw.dirichlet(np.ones(5))
        low, high = draw.uniform(0, 0.1, 5), draw.uniform(0.25, 0.6, 5)
        found = bounded(wanted * draw.uniform(0.1, 10), low, high)
        best = optimize.minimize(
            lambda p, wanted=wanted: float(np.sum(p * np.log(p / wanted))),
            np.clip(wanted, low + 1e-3, high),
            bounds=list(zip(np.maximum(low, 1e-9), high, strict=True)),
            constraints={"type": "eq", "fun": lambda p: p.sum() - 1},
            options={"ftol": 1e-14, "maxiter": 500},
        )
        assert found.sum() == pytest.approx(1)
        np.testing.assert_allclose(found, best.x, atol=2e-5)


def test_a_floor_that_leaves_no_room_is_refused() -> None:
    with pytest.raises(UserError, match=r"share_floor is 0.5, but 3 sources .* give less than 0.333"):
        first_shares([1, 1, 1], "uniform", 0.5)
    np.testing.assert_allclose(first_shares([1, 3], "size", 0.01), [0.25, 0.75])
    np.testing.assert_allclose(first_shares([1, 999], "size", 0.01), [0.01, 0.99])


def test_skills_are_filled_like_water() -> None:
    """Skill d's residual is e^(−a_d·n_d) after n_d samples, M = ½Σm_d·e^(−2·a_d·n_d): the best split of N is known."""
    a, m, total, steps = np.array([1.0, 0.3, 0.1]), np.array([1.0, 2.0, 3.0]), 12.0, 6000
    learned = LearnedShares(
        np.ones(3) / 3, MixtureConfig(prior_pull=0.0, shares_rate=1.0, share_floor=0.0, influence_decay=0.0)
    )
    n = np.zeros(3)
    for _ in range(steps):
        n += learned.shares * total / steps
        found = -m * a * np.exp(-2 * a * n)  # ∂M/∂n_d, of one sample more
        learned.update(DomainInfluence(found, np.zeros(3), np.full(3, 16), float((found**2).mean())))
    reached = 0.5 * float(np.sum(m * np.exp(-2 * a * n)))
    assert reached == pytest.approx(0.5149, abs=2e-3)
    np.testing.assert_allclose(n, [1.317, 3.537, 7.146], atol=0.25)


# whole numbers of samples


def test_counts_are_whole_and_add_up() -> None:
    assert largest_remainder(np.array([0.5, 0.3, 0.2]), 7).tolist() == [4, 2, 1]
    assert largest_remainder(np.ones(3) / 3, 2).tolist() == [1, 1, 0]
    draw = np.random.default_rng(3)
    for _ in range(100):
        shares = draw.dirichlet(np.ones(6))
        counts = largest_remainder(shares, 97)
        assert counts.sum() == 97
        assert np.abs(counts - 97 * shares).max() < 1


def shown(windows: Windows, steps: range) -> NDArray[np.int64]:
    drawn = [windows(step) for step in steps]
    return np.array([[each.domains, each.rows] for each in drawn])


def made() -> Windows:
    windows = Windows([5, 40], 8, 3, 9, seed=7)
    for shares in ([0.5, 0.5], [0.25, 0.75], [0.9, 0.1]):
        windows.decide(np.array(shares))
    return windows


def test_a_window_holds_its_counts_and_each_pass_all_rows() -> None:
    found = shown(made(), range(9))
    for window, counts in enumerate([[12, 12], [6, 18], [22, 2]]):
        assert np.bincount(found[3 * window : 3 * window + 3, 0].ravel()).tolist() == counts
    of_first = found[:, 1][found[:, 0] == 0]
    for number in range(len(of_first) // 5):
        assert sorted(of_first[5 * number : 5 * number + 5]) == [0, 1, 2, 3, 4]
    of_second = found[:, 1][found[:, 0] == 1]
    assert len(set(of_second)) == len(of_second) == 32


def test_a_step_is_the_same_whichever_came_before_it() -> None:
    whole = shown(made(), range(9))
    later = Windows([5, 40], 8, 3, 9, seed=7)
    later.load(made().table())
    np.testing.assert_array_equal(shown(later, range(5, 9)), whole[5:])
    other = Windows([5, 40], 8, 3, 9, seed=8)
    other.load(made().table())
    assert (shown(other, range(9)) != whole).any()


def test_a_plan_of_other_data_is_refused() -> None:
    with pytest.raises(UserError, match="samples of each source was"):
        Windows([5, 41], 8, 3, 9, seed=7).load(made().table())
    table = made().table()
    table["windows"][0][1] += 1
    with pytest.raises(UserError, match="which is none of this run"):
        Windows([5, 40], 8, 3, 9, seed=7).load(table)


def test_a_source_that_never_helps_comes_to_nothing_and_stays_a_number() -> None:
    learned = LearnedShares(
        np.ones(2) / 2, MixtureConfig(prior_pull=0.0, shares_rate=5.0, share_floor=0.0, influence_decay=0.0)
    )
    for _ in range(2000):
        learned.update(influence([1.0, -1.0]))
    assert learned.shares.tolist() == pytest.approx([1e-9, 1.0], abs=1e-8)


def test_each_window_and_each_pass_has_an_order_of_its_own() -> None:
    windows = Windows([6, 6], 12, 2, 20, seed=0)
    for _ in range(10):
        windows.decide(np.array([0.5, 0.5]))
    found = shown(windows, range(20))
    orders = {tuple(found[2 * window : 2 * window + 2, 0].ravel()) for window in range(10)}
    assert len(orders) == 10
    passes = found[:, 1][found[:, 0] == 0].reshape(-1, 6)
    assert len({tuple(each) for each in passes}) > 12


def test_the_last_window_ends_with_the_run() -> None:
    windows = Windows([50, 50], 10, 20, 25, seed=0)
    windows.decide(np.array([0.5, 0.5]))
    windows.decide(np.array([0.5, 0.5]))
    assert [each.tolist() for each in windows.counts] == [[100, 100], [25, 25]]
    assert windows.left == 0


def test_an_update_counts_as_much_whatever_its_influences_size() -> None:
    """They fall by orders of magnitude over a run; the first ones would otherwise be all that is heard."""
    found = []
    for size in (1.0, 1e6):
        learned = LearnedShares(np.ones(3) / 3, SETTINGS)
        first = DomainInfluence(size * np.array([1.0, 0.0, -1.0]), np.full(3, size / 10), np.full(3, 9), size**2)
        learned.update(first)
        learned.update(DomainInfluence(np.array([0.0, -1.0, 1.0]), np.full(3, 0.1), np.full(3, 9), 1.0))
        found.append(learned.shares)
    np.testing.assert_allclose(found[0], found[1])


def test_shrinking_by_hand() -> None:
    """Two updates at decay γ = ½: S̄ = (γS₁ + S₂)(1 − γ)/(1 − γ²), and its variance likewise, with squares."""
    settings = dataclasses.replace(SETTINGS, influence_decay=0.5, shares_rate=0.0)
    learned = LearnedShares(np.array([0.2, 0.3, 0.5]), settings)
    first = DomainInfluence(np.array([1.0, 0.0, -2.0]), np.array([0.3, 0.6, 0.1]), np.full(3, 9), 4.0)
    second = DomainInfluence(np.array([2.0, 1.0, -1.0]), np.array([0.5, 0.2, 0.4]), np.full(3, 9), 1.0)
    learned.update(first)
    shares = learned.shares
    learned.update(second)
    weight = 0.5 + 0.25
    level = (0.25 * first.mean / 2 + 0.5 * second.mean) / weight  # each in units of its own root mean square, 2 and 1
    variance = (0.0625 * first.error**2 / 4 + 0.25 * second.error**2) / weight**2
    level = level - level @ learned.shares
    between = np.var(level, ddof=1) - variance.mean()
    np.testing.assert_allclose(learned.scaled, level * between / (between + variance))
    np.testing.assert_allclose(shares, learned.shares, atol=0.05)


def test_a_single_probe_says_little() -> None:
    """Its own size stands for the error that nobody knows."""
    alone, many = (LearnedShares(np.ones(3) / 3, SETTINGS) for _ in range(2))
    alone.update(DomainInfluence(np.array([4.0, 0.0, 0.1]), np.array([np.nan, 0.1, 0.1]), np.array([1, 9, 9]), 1.0))
    many.update(DomainInfluence(np.array([4.0, 0.0, 0.1]), np.full(3, 0.1), np.full(3, 9), 1.0))
    assert alone.scaled[0] < 0.6 * many.scaled[0]


def test_no_share_is_above_what_is_left() -> None:
    learned = LearnedShares(np.ones(3) / 3, SETTINGS)
    learned.update(influence([-1.0, 0.0, 1.0]), np.array([0.35, 1.0, 1.0]))
    assert learned.shares[0] == pytest.approx(0.35)
