"""Influences of tasks: closed form, finite differences of real steps, inner products, and sampled ones in the mean."""

from __future__ import annotations

import copy
from collections.abc import Callable

import numpy as np
import pytest
import torch
from practising.chain import COIN, CONFLICT, ELSEWHERE, LADDER, Chain, Policy, probabilities
from torch import Tensor, nn

from ray_mentor import UserError
from ray_mentor.core.batch import Batch
from ray_mentor.core.influence.step_jacobian import times_diagonals
from ray_mentor.core.influence.taken_step import TakenStep, dense_gradient_of
from ray_mentor.tasks import PolicyRows, Rollouts, TaskSettings
from ray_mentor.tasks.probe import Surrogate, TaskProbe
from ray_mentor.tasks.trusted import TrustedDraws

RATE = 0.3


def sgd(params: list[Tensor]) -> torch.optim.Optimizer:
    return torch.optim.SGD(params, RATE, momentum=0.9, nesterov=True, weight_decay=0.01)


def adam(params: list[Tensor]) -> torch.optim.Optimizer:
    return torch.optim.Adam(params, 0.05, eps=1e-3)


def table(chain: Chain, seed: int = 0) -> np.ndarray:
    """Logits of a policy that is right about half of the time."""
    found = np.random.default_rng(seed).normal(size=(chain.states, 10)) / 2
    found[np.arange(chain.states), chain.right] += 2.5
    return found


def softmax(logits: np.ndarray) -> np.ndarray:
    found = np.exp(logits)
    return found / found.sum(axis=1, keepdims=True)


def test_influences_on_the_chain_are_finite_differences() -> None:
    """∂J_T(θ + w·∇J_k)/∂w at 0, J_T from a product of its own."""
    chain = Chain(junk=True, seed=3)
    logits = table(chain)
    found = chain.influences(softmax(logits))
    size = np.abs(found).max()
    for task in range(len(chain.tasks)):
        step = 1e-4 * chain.gradient(softmax(logits), task)
        ends = [chain.target_success(softmax(logits + sign * step)) for sign in (1, -1)]
        assert found[task] == pytest.approx((ends[0] - ends[1]) / 2e-4, abs=1e-8 * size)


def test_gradients_on_the_chain_are_finite_differences() -> None:
    chain = Chain(junk=True, seed=3)
    logits = table(chain)
    for name in ("ladder-1-3", "conflict-2-2", "elsewhere-4-1", "coin-0-2"):
        task = chain.tasks.place(name)
        found = chain.gradient(softmax(logits), task)
        for state in range(chain.states):
            for action in (0, 7):
                moved = np.zeros_like(logits)
                moved[state, action] = 1e-5
                ends = [chain.success(softmax(logits + sign * moved), task) for sign in (1, -1)]
                assert found[state, action] == pytest.approx((ends[0] - ends[1]) / 2e-5, abs=1e-9)


def actor() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 5), nn.Tanh(), nn.Linear(5, 4)).double()


def rollouts(seed: int, task: str, rows: int, episodes: int, played_by: nn.Module) -> Rollouts:
    draw = torch.Generator().manual_seed(seed)
    observations = torch.randn(rows, 3, generator=draw, dtype=torch.float64)
    actions = torch.randint(4, (rows,), generator=draw)
    with torch.no_grad():
        log_probs = played_by(observations).log_softmax(1)[torch.arange(rows), actions]
    advantages = torch.randn(rows, generator=draw, dtype=torch.float64)
    return Rollouts(task, PolicyRows(observations, actions, log_probs, advantages, episodes))


def loss_of(policy: nn.Module, one: Rollouts) -> Tensor:
    """−(1/episodes)·Σ A·π/π_played, written out."""
    rows = one.rows
    probability = policy(rows.observations).softmax(1)[torch.arange(len(rows)), rows.actions]
    return -(rows.advantages * probability / rows.log_probs.exp()).sum() / rows.episodes


@pytest.mark.parametrize("optimizer", [sgd, adam])
@pytest.mark.parametrize("steps_before", [0, 3])
def test_one_pass_gives_the_derivative_through_the_real_step_and_the_inner_products(
    optimizer: Callable[[list[Tensor]], torch.optim.Optimizer], steps_before: int
) -> None:
    policy = actor()
    own = optimizer(list(policy.parameters()))
    groups = [rollouts(10 + k, f"task {k}", 4 + 3 * k, 2 + k, policy) for k in range(3)]
    trusted = [rollouts(20 + j, f"trusted {j}", 5 + j, 2, policy) for j in range(2)]
    weights = np.array([0.3, 0.9])

    def step(on: nn.Module, by: torch.optim.Optimizer, extra: int | None = None, w: float = 0.0) -> None:
        by.zero_grad()
        loss = sum((loss_of(on, one) for one in groups), torch.zeros(()))
        (loss if extra is None else loss + w * loss_of(on, groups[extra])).backward()
        by.step()

    for _ in range(steps_before):
        step(policy, own)
    params, state = copy.deepcopy(policy.state_dict()), copy.deepcopy(own.state_dict())
    probe = TaskProbe(policy, own, decay=0.0)
    before = probe.before_step()
    step(policy, own)
    found = probe(before, groups, trusted, weights)

    def target(extra: int, w: float) -> float:
        again = actor()
        again.load_state_dict(params)
        by = optimizer(list(again.parameters()))
        by.load_state_dict(copy.deepcopy(state))
        step(again, by, extra, w)
        with torch.no_grad():
            return -sum(weight * float(loss_of(again, one)) for weight, one in zip(weights, trusted, strict=True))

    slopes = np.array([(target(k, 1e-5) - target(k, -1e-5)) / 2e-5 for k in range(3)])
    np.testing.assert_allclose(found.influence, slopes, rtol=1e-6, atol=1e-9)

    meta = dict(zip(params, torch.autograd.grad(
        sum((w * loss_of(policy, one) for w, one in zip(weights, trusted, strict=True)), torch.zeros(())),
        list(policy.parameters())), strict=True))  # fmt: skip
    rows = torch.zeros(1, dtype=torch.int64)
    taken = TakenStep(policy, (own,), Surrogate(), Surrogate(), Batch(rows, rows, rows, rows), rows, before,
                      dense_gradient_of(policy))  # fmt: skip
    direction = times_diagonals(taken, meta)
    old = actor()
    old.load_state_dict(params)
    products = []
    for one in groups:
        gradient = torch.autograd.grad(loss_of(old, one), list(old.parameters()))
        pairs = zip(gradient, direction.values(), strict=True)
        products.append(-float(sum((g * d).sum() for g, d in pairs)))
    np.testing.assert_allclose(found.influence, products, rtol=1e-10)
    assert found.length == pytest.approx(float(torch.cat([d.ravel() for d in direction.values()]).norm()))


def left_out(rewards: np.ndarray) -> np.ndarray:
    """r_i − the mean of the others: an advantage whose gradient is unbiased."""
    n = len(rewards)
    return (rewards - rewards.mean()) * n / (n - 1)


@pytest.mark.parametrize("draw_by", ["available", "uniform"])
def test_sampled_influences_are_the_exact_ones_in_the_mean(draw_by: str) -> None:
    """Of coin flips, and of chains that nobody asks for, 0; of conflicting tasks below 0."""
    chain = Chain(junk=True, seed=1)
    policy = Policy(chain.states)
    with torch.no_grad():
        policy.table.copy_(torch.from_numpy(table(chain)))
    pi = probabilities(policy)
    optimizer = torch.optim.SGD(policy.parameters(), RATE)
    names = [f"{LADDER}-0-1", f"{LADDER}-1-3", f"{COIN}-0-2", f"{CONFLICT}-0-1", f"{ELSEWHERE}-3-1"]
    trusted = chain.trusted()
    draws = TrustedDraws(trusted, TaskSettings(trusted_draw=draw_by), seed=0)  # type: ignore[arg-type]
    generator = np.random.default_rng(5)

    def play(task: str) -> Rollouts:
        return Rollouts(task, chain.play(pi, chain.tasks.place(task), 8, generator, left_out).rows)

    draws.take_in([play(task) for task in trusted.ids])
    sampled = []
    for iteration in range(500):
        asked = draws.asked(iteration)
        came = [play(task) for task in asked]
        probe = TaskProbe(policy, optimizer, decay=0.0)
        before = probe.before_step()
        policy.table.grad = torch.zeros_like(policy.table)  # a step that stays where it is
        optimizer.step()
        sampled.append(probe(before, [play(task) for task in names], came, draws.weights(came, asked)).influence)
    exact = RATE * chain.influences(pi)[chain.tasks.places(names)]
    middle, error = np.mean(sampled, axis=0), np.std(sampled, axis=0, ddof=1) / np.sqrt(len(sampled))
    assert exact[2] == exact[4] == middle[4] == 0
    off = (middle - exact)[:4] / error[:4]
    assert np.abs(off).max() < 3.5
    assert exact[3] < 0
    assert middle[3] < -3 * error[3]
    assert (middle[:2] > 3 * error[:2]).all()


def test_weights_make_up_for_how_trusted_tasks_were_drawn() -> None:
    """Σ over draws of q·weight·draws = 1/n of each task, exactly."""
    chain = Chain(junk=False, seed=1)
    pi = softmax(table(chain))
    generator = np.random.default_rng(0)
    draws = TrustedDraws(chain.trusted(), TaskSettings(), seed=0)
    came = [Rollouts(task, chain.play(pi, chain.tasks.place(task), 8, generator).rows) for task in draws.tasks.ids[:9]]
    for _ in range(5):
        draws.take_in(came)
    q = draws.probabilities()
    assert q.max() > 1.2 * q.min()
    weights = draws.weights(came, [one.task for one in came])
    np.testing.assert_allclose(weights * len(came) * q[:9], 1 / 36)


def test_the_trusted_gradient_is_averaged_over_updates() -> None:
    policy = actor()
    probe = TaskProbe(policy, sgd(list(policy.parameters())), decay=0.9)
    for value in (1.0, 3.0):
        probe.take_in({"0.weight": torch.full((5, 3), value, dtype=torch.float64)})
    mean = (0.9 * 0.1 * 1 + 0.1 * 3) / 0.19
    torch.testing.assert_close(probe.average["0.weight"] / probe.weight, torch.full((5, 3), mean, dtype=torch.float64))


def test_gradients_that_were_cleared_are_missed() -> None:
    policy = actor()
    optimizer = sgd(list(policy.parameters()))
    probe = TaskProbe(policy, optimizer, decay=0.0)
    before = probe.before_step()
    group = rollouts(1, "a", 4, 2, policy)
    with pytest.raises(UserError, match=r"after optimizer\.step\(\) and before they are cleared"):
        probe(before, [group], [group], np.ones(1))
