"""A loop of one's own whose learning rates are multiplied by what is learnt."""

from __future__ import annotations

import copy
import functools
import math
from typing import Any

import pytest
import torch
from own_loop import Loop, blobs, noisy, params, per_sample, student
from thread_ranks import on_ranks
from torch import Tensor, nn

from ray_mentor import LearnConfig, LearnedCurriculum, MentorConfig
from ray_mentor.errors import UserError

FIXED: dict[str, Any] = {"learn": LearnConfig(learn=("lr",), learn_step=1e-12), "total_steps": 200}


def at_factor(loop: Loop, factor: float) -> Loop:
    assert loop.curriculum.curriculum.rate is not None
    loop.curriculum.curriculum.rate.factor.value = math.log(factor)
    loop.curriculum.curriculum.rate.factor.climbs = False
    return loop


def sgd(model: nn.Module, rate: float) -> torch.optim.Optimizer:
    return torch.optim.SGD(model.parameters(), rate, momentum=0.9)


def adamw(model: nn.Module, rate: float) -> torch.optim.Optimizer:
    return torch.optim.AdamW(model.parameters(), rate, weight_decay=0.1)


@pytest.mark.parametrize("make", [sgd, adamw])
def test_influences_are_those_of_the_rate_in_force(make: Any) -> None:
    """A third of the rate times three is the rate: for the steps, and for what the mentor looks back on."""
    plain = Loop(make_optimizer=functools.partial(make, rate=0.03), total_steps=200)
    tripled = Loop(make_optimizer=functools.partial(make, rate=0.01), **FIXED)
    records = plain.run(6), at_factor(tripled, 3.0).run(6)
    for one, other in zip(*records, strict=True):
        torch.testing.assert_close(other.influence, one.influence, rtol=1e-3, atol=1e-7, equal_nan=True)
        assert other.hypergradients == pytest.approx(one.hypergradients, rel=1e-2, abs=1e-6)
    assert any(bool(record.influence.isfinite().all()) for record in records[0])
    for name, value in params(plain.student).items():
        torch.testing.assert_close(params(tripled.student)[name], value, rtol=1e-4, atol=1e-6)
    assert tripled.optimizer.param_groups[0]["lr"] == 0.01
    assert tripled.curriculum.learning_rate_factor == pytest.approx(3.0)
    assert plain.curriculum.learning_rate_factor == 1.0


def test_a_rate_a_thousand_times_too_small_is_found() -> None:
    def loss(loop: Loop) -> float:
        inputs, labels = blobs(200, 7)
        return float(per_sample(loop.student(inputs), labels).mean().detach())

    few = functools.partial(sgd, rate=0.00005)
    given, learnt = (Loop(make_optimizer=few, total_steps=600, **more) for more in ({}, {"learn": ("lr",)}))
    before = loss(given)
    given.run(600)
    learnt.run(600)
    assert loss(given) > 0.8 * before
    assert loss(learnt) < 0.3 * before
    assert learnt.curriculum.learning_rate_factor > 30


def test_a_loop_that_blows_up_goes_on_where_it_was_sound() -> None:
    loop = Loop(make_optimizer=functools.partial(sgd, rate=200.0), total_steps=400, learn=("lr",))
    records = loop.run(400)
    rate = loop.curriculum.curriculum.rate
    assert rate is not None
    assert rate.rejected > 0
    assert sum(len(record.losses) == 0 for record in records) == rate.rejected
    assert all(bool(value.isfinite().all()) for value in params(loop.student).values())
    inputs, labels = blobs(200, 7)
    assert float(per_sample(loop.student(inputs), labels).mean().detach()) < 0.8


@pytest.mark.parametrize("cut", [3, 38, 101])
def test_it_goes_on_bit_for_bit(cut: int) -> None:
    made = functools.partial(Loop, make_optimizer=functools.partial(sgd, rate=30.0), total_steps=200)
    made = functools.partial(made, learn=LearnConfig(learn=("lr",), learn_interval=2))
    whole, first, second = made(), made(), made()
    whole.run(200)
    first.run(cut)
    second.student.load_state_dict(first.student.state_dict())
    second.optimizer.load_state_dict(copy.deepcopy(first.optimizer.state_dict()))
    second.curriculum.load_state_dict(first.curriculum.state_dict())
    second.run(200 - cut, first=cut)
    for name, value in params(whole.student).items():
        assert torch.equal(params(second.student)[name], value), name
    assert second.curriculum.learning_rate_factor == whole.curriculum.learning_rate_factor


def test_states_with_and_without_do_not_go_together() -> None:
    plain, learns = Loop(), Loop(learn=("lr",), total_steps=200)
    for one, other in ((plain, learns), (learns, plain)):
        with pytest.raises(UserError, match="learnt learning rate"):
            one.curriculum.load_state_dict(other.curriculum.state_dict())


def test_what_is_no_setting_is_refused() -> None:
    with pytest.raises(UserError, match="unknown learn 'weight_decay'; valid: lr"):
        Loop(learn=("weight_decay",))
    with pytest.raises(UserError, match="must be a sequence of names"):
        Loop(learn="lr")


def test_a_closed_curriculum_leaves_the_rates_alone() -> None:
    loop = at_factor(Loop(**FIXED), 3.0)
    loop.run(2)
    loop.curriculum.close()
    before = params(loop.student)
    for param in loop.student.parameters():
        param.grad = torch.ones_like(param)
    for state in loop.optimizer.state.values():
        state["momentum_buffer"].zero_()
    loop.optimizer.step()
    moved = params(loop.student)["0.bias"] - before["0.bias"]
    torch.testing.assert_close(moved, torch.full_like(moved, -0.05), rtol=1e-4, atol=0)


def test_two_ranks_learn_what_one_does() -> None:
    """Each with half of every batch; gradients are averaged, as data parallelism does."""

    first = student().double()

    def rank(exchange: Any) -> tuple[float, Tensor]:
        net = copy.deepcopy(first)
        optimizer = sgd(net, 0.001)
        inputs, labels = blobs(30, 1)
        own = slice(exchange.rank, None, exchange.world_size)
        made = LearnedCurriculum(
            net,
            optimizer,
            (inputs.double(), labels),
            total_steps=200,
            mentor=MentorConfig(update_interval=10**6, estimator="finite_difference"),
            exchange=exchange,
            learn=LearnConfig(learn=("lr",), learn_interval=2),
        )
        for inputs, labels, _ in noisy(20):
            loss = made.weigh(per_sample(net(inputs[own].double()), labels[own]), labels=labels[own])
            optimizer.zero_grad()
            loss.backward()
            given = [param.grad for param in net.parameters() if param.grad is not None]
            for grad, whole in zip(given, exchange.sum_of(given), strict=True):
                grad.copy_(whole / exchange.world_size)
            optimizer.step()
            made.after_step()
        return made.learning_rate_factor, nn.utils.parameters_to_vector(net.parameters()).detach()

    (alone,) = on_ranks(1, rank)
    together = on_ranks(2, rank)
    assert together[0][0] == together[1][0] == pytest.approx(alone[0], rel=1e-9)
    torch.testing.assert_close(together[0][1], alone[1], rtol=1e-9, atol=1e-12)
    assert alone[0] > 0.002
