"""A factor on the learning rates that is learnt while the student trains."""

from __future__ import annotations

import copy
import dataclasses
import itertools
import math
from typing import Any

import pytest
import torch
from tiny_run import batch_of, curriculum_of, student_of
from torch import Tensor, nn

from ray_mentor.config import MentorConfig
from ray_mentor.config.groups.learned import LearnConfig
from ray_mentor.core.curriculum import Curriculum
from ray_mentor.core.learned_rate.learner import LearnedRate, check_room
from ray_mentor.core.losses import cross_entropy
from ray_mentor.errors import NonFiniteLossError, UserError

LN2 = math.log(2)


def learned(net: nn.Module, optimizer: torch.optim.Optimizer, steps: int = 400, **settings: Any) -> LearnedRate:
    config = dataclasses.replace(LearnConfig(learn=("lr",)), **settings)
    return LearnedRate(net, (optimizer,), config, total_steps=steps)


def of(dtype: torch.dtype = torch.float64, rate: float = 0.5, steps: int = 400, **settings: Any) -> Curriculum:
    net = student_of(dtype)
    optimizer = torch.optim.SGD(net.parameters(), lr=rate, momentum=0.9, nesterov=True)
    curriculum = curriculum_of(net, optimizer, total_steps=steps, config=MentorConfig(update_interval=10**6))
    curriculum.rate = learned(net, optimizer, steps, **settings)
    return curriculum


def params(net: nn.Module) -> Tensor:
    return nn.utils.parameters_to_vector(net.parameters()).detach().clone()


# Steps at the rate in force


def test_a_step_is_that_of_the_rate_times_the_factor_and_the_schedule_stays_the_users() -> None:
    found = []
    for factor in (None, 3.0):
        net = student_of(torch.float64)
        rates = [{"params": [net.weight], "lr": 0.1}, {"params": [net.bias], "lr": 0.02}]
        if factor is None:
            rates = [{**group, "lr": 3.0 * group["lr"]} for group in rates]
        optimizer = torch.optim.SGD(rates, momentum=0.9)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 10)
        if factor is not None:
            learned(net, optimizer, learn_step=1e-12).factor.value = math.log(factor)
        for k in range(6):
            optimizer.zero_grad()
            cross_entropy(net(batch_of(seed=k, dtype=torch.float64).inputs), batch_of(seed=k).labels).sum().backward()
            optimizer.step()
            schedule.step()
        found.append(params(net))
        if factor is not None:
            assert [group["lr"] for group in optimizer.param_groups] == schedule.get_last_lr()
    torch.testing.assert_close(*found, rtol=1e-13, atol=0)


def test_a_class_whose_step_calls_the_one_below_it_is_scaled_once() -> None:
    class Own(torch.optim.SGD):
        def step(self, closure: Any = None) -> Any:
            return super().step(closure)

    found = []
    for kind in (torch.optim.SGD, Own):
        net = student_of(torch.float64)
        optimizer = kind(net.parameters(), lr=0.1)
        learned(net, optimizer).factor.value = math.log(3.0)
        cross_entropy(net(batch_of(dtype=torch.float64).inputs), batch_of().labels).sum().backward()
        optimizer.step()
        found.append(params(net))
        assert optimizer.param_groups[0]["lr"] == 0.1
    assert torch.equal(*found)


# What is learnt


def test_the_slope_on_the_next_batch_is_of_the_steps_before_it() -> None:
    """⟨g_t, z_{t−1}⟩, of a batch that the student has not learnt yet: the step along g_t itself is not in it."""
    curriculum = of(learn_interval=2, learn_trace=1.0)
    start, net = params(curriculum.bare), curriculum.bare
    curriculum.step(batch_of(seed=0, dtype=torch.float64))
    moved = params(net) - start
    batch = batch_of(seed=1, dtype=torch.float64)
    loss = cross_entropy(net(batch.inputs), batch.labels).mean()
    gradient = torch.cat([each.reshape(-1) for each in torch.autograd.grad(loss, list(net.parameters()))])
    curriculum.step(batch)
    assert curriculum.rate is not None
    assert curriculum.rate.slope == pytest.approx(float(gradient @ moved), rel=1e-12)


def test_it_is_learnt_in_the_first_part_and_then_stays() -> None:
    curriculum = of(steps=240, learn_interval=1, learn_until=0.5)
    assert curriculum.rate is not None
    seen = []
    for k in range(240):
        curriculum.step(batch_of(seed=k, dtype=torch.float64))
        seen.append(curriculum.rate.factor.value)
    assert all(before != after for before, after in itertools.pairwise(seen[30:120]))
    assert len(set(seen[119:])) == 1


def far_away(start: float, learn: bool) -> float:
    """Final loss of noisy descent on a quadratic of condition 100, at a cosine from ``start``."""
    draw, steps = torch.Generator().manual_seed(0), 600
    scales = torch.logspace(-2, 0, 30, dtype=torch.float64)
    net = nn.Linear(30, 1, bias=False).double()
    nn.init.ones_(net.weight)
    optimizer = torch.optim.SGD(net.parameters(), lr=start, momentum=0.9)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    rate = learned(net, optimizer, steps) if learn else None
    for _ in range(steps):
        noise = 0.3 * torch.randn(30, generator=draw, dtype=torch.float64) * scales.sqrt()
        loss = 0.5 * (scales * net.weight[0].square()).sum()
        if rate is not None:
            rate.begins()
            rate.sees(float(loss.detach()))
        elif not math.isfinite(float(loss.detach())):
            return math.inf
        optimizer.zero_grad()
        (loss + net.weight[0] @ noise).backward()
        optimizer.step()
        schedule.step()
        if rate is not None:
            rate.after_step()
    return float(0.5 * (scales * net.weight[0].detach().square()).sum())


def test_from_wherever_it_begins_the_end_is_that_of_the_best_rate() -> None:
    grid = {exponent: far_away(10**exponent, learn=False) for exponent in (-4, -3.5, -3, -2.5, -2, -1.5, -1, -0.5, 0)}
    best = min(grid, key=grid.__getitem__)
    starts = [10 ** (best + shift) for shift in (-2, -1, 0, 1, 2)]
    fixed, found = ([far_away(start, learn) for start in starts] for learn in (False, True))
    assert max(found) < 6 * grid[best]
    assert sum(each > 10 * grid[best] for each in fixed) >= 2, "it is no easy case"


# Steps that are taken back


class Blown(nn.Linear):
    """A student that says what is not finite, or is far off, when it is told to."""

    blows: float | None = None

    def forward(self, inputs: Tensor) -> Tensor:
        found = super().forward(inputs)
        return found if self.blows is None else found * self.blows


def blown(**settings: Any) -> Curriculum:
    torch.manual_seed(3)
    net = Blown(4, 3).double()
    optimizer = torch.optim.SGD(net.parameters(), lr=0.5, momentum=0.9)
    config = MentorConfig(update_interval=10**6, history_length=2, mentor_features=("loss", "history"))
    curriculum = curriculum_of(net, optimizer, total_steps=400, config=config)
    curriculum.rate = learned(net, optimizer, 400, **settings)
    curriculum.rate.factor.climbs = False
    return curriculum


def test_at_the_end_of_the_climb_all_is_as_it_was_two_to_three_doublings_before() -> None:
    curriculum = of(rate=40.0, learn_interval=5)
    rate, at = curriculum.rate, {}
    assert rate is not None
    while rate.factor.climbs:
        at[curriculum.step_number] = rate.factor.value, params(curriculum.bare)
        curriculum.step(batch_of(seed=curriculum.step_number, dtype=torch.float64))
    value, was = at[curriculum.step_number - 15]
    assert torch.equal(params(curriculum.bare), was)
    assert rate.factor.value == value
    assert max(reached for reached, _ in at.values()) - value == pytest.approx(1 * LN2, abs=1.01 * LN2)
    assert torch.equal(rate.state()["trace"]["weight"], curriculum.bare.weight), "z is 0"
    assert rate.state()["below"] == []


@pytest.mark.parametrize("blows", [math.nan, math.inf, 1e3])
def test_a_step_whose_losses_blow_up_is_taken_back_and_the_rate_is_halved(blows: float) -> None:
    curriculum = blown(learn_interval=3)
    rate, net = curriculum.rate, curriculum.bare
    assert rate is not None
    assert isinstance(net, Blown)
    for k in range(3):
        curriculum.step(batch_of(seed=k, dtype=torch.float64))
    then, at = params(net), rate.factor.value
    curriculum.step(batch_of(seed=3, dtype=torch.float64))
    remembered = copy.deepcopy(curriculum.optimizer.state_dict()["state"])
    curriculum.step(batch_of(seed=4, dtype=torch.float64))
    assert not torch.equal(params(net), then)
    known, percentile = curriculum.history.table.clone(), curriculum.percentile.value

    net.blows = blows
    record = curriculum.step(batch_of(seed=5, dtype=torch.float64))
    net.blows = None
    assert torch.equal(params(net), then), "as it was before the step after the last look"
    assert rate.factor.value == pytest.approx(at - LN2)
    assert (rate.rejected, len(record.losses), curriculum.step_number) == (1, 0, 6)
    assert torch.equal(curriculum.history.table.nan_to_num(-1), known.nan_to_num(-1))
    assert curriculum.percentile.value == percentile
    assert all(bool(each.isfinite().all()) for each in curriculum.optimizer.state_dict()["state"][0].values())
    assert not torch.equal(
        curriculum.optimizer.state_dict()["state"][0]["momentum_buffer"], remembered[0]["momentum_buffer"]
    )
    curriculum.step(batch_of(seed=6, dtype=torch.float64))
    assert not torch.equal(params(net), then), "and training goes on"


def test_what_is_never_finite_ends_with_the_error_that_it_has_without() -> None:
    curriculum = blown(learn_interval=3)
    curriculum.step(batch_of(dtype=torch.float64))
    assert isinstance(curriculum.bare, Blown)
    curriculum.bare.blows = math.nan
    for _ in range(20):
        curriculum.step(batch_of(dtype=torch.float64))
    with pytest.raises(NonFiniteLossError):
        curriculum.step(batch_of(dtype=torch.float64))


def test_the_first_batch_of_all_is_refused_if_its_losses_are_not_finite() -> None:
    curriculum = blown()
    assert isinstance(curriculum.bare, Blown)
    curriculum.bare.blows = math.nan
    with pytest.raises(NonFiniteLossError):
        curriculum.step(batch_of(dtype=torch.float64))


def test_what_is_below_the_first_loss_or_may_be_chance_is_no_blow_up() -> None:
    curriculum = of(learn_interval=1)
    rate = curriculum.rate
    assert rate is not None
    for mean, error, is_fine in (
        (2.0, 0.0, True),
        (0.01, 0.0, True),
        (1.9, 0.0, True),  # 190 times the last, and below the first
        (0.1, 0.2, True),
        (2.5, 9.0, True),  # within three standard errors of the last above the first
        (0.1, 0.1, True),
        (2.5, 9.0, False),
    ):
        assert rate.sees(mean, error) == is_fine, mean
        rate.after_step()


def test_a_loss_may_lie_below_0() -> None:
    curriculum = of(learn_interval=1)
    rate = curriculum.rate
    assert rate is not None
    for mean, is_fine in ((-1.0, True), (-4.0, True), (-3.9, True), (0.1, False)):
        assert rate.sees(mean) == is_fine, mean
        rate.after_step()


def test_the_trace_goes_back_too_and_a_look_that_is_sound_ends_a_row() -> None:
    curriculum = blown(learn_interval=3)
    rate, net = curriculum.rate, curriculum.bare
    assert rate is not None
    assert isinstance(net, Blown)
    for k in range(4):
        curriculum.step(batch_of(seed=k, dtype=torch.float64))
    then = rate.state()["then"]["trace"]["weight"]
    curriculum.step(batch_of(seed=4, dtype=torch.float64))
    assert not torch.equal(rate.state()["trace"]["weight"], then)
    net.blows = math.nan
    curriculum.step(batch_of(seed=5, dtype=torch.float64))
    net.blows = None
    assert torch.equal(rate.state()["trace"]["weight"], then)
    assert rate.state()["in_a_row"] == 1
    for k in range(6, 12):
        curriculum.step(batch_of(seed=k, dtype=torch.float64))
    assert rate.state()["in_a_row"] == 0


def test_what_a_user_holds_of_the_optimizer_stays_its_own() -> None:
    """Its groups, and tensors in them."""
    curriculum = blown(learn_interval=3)
    group = curriculum.optimizer.param_groups[0]
    assert isinstance(curriculum.bare, Blown)
    for k in range(5):
        curriculum.bare.blows = math.nan if k == 3 else None
        curriculum.step(batch_of(seed=k, dtype=torch.float64))
    assert curriculum.optimizer.param_groups[0] is group
    assert curriculum.rate is not None
    assert curriculum.rate.rejected == 1


def test_the_rate_in_force_is_what_a_meta_step_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    curriculum = of(rate=0.5)
    assert curriculum.rate is not None
    curriculum.rate.factor.value = math.log(3.0)
    monkeypatch.setattr(Curriculum, "is_looked_back_on", True)
    before = curriculum.before_forward()
    assert before is not None
    assert before.groups[0][0].options["lr"] == pytest.approx(1.5)
    assert curriculum.optimizer.param_groups[0]["lr"] == 0.5


def test_a_step_is_taken_at_the_rate_before_the_look_at_it() -> None:
    """The meta step has taken down that one."""
    curriculum = of(rate=0.5, learn_interval=1)
    assert curriculum.rate is not None
    used = []
    curriculum.optimizer.register_step_pre_hook(lambda optimizer, *_: used.append(optimizer.param_groups[0]["lr"]))
    for k in range(6):
        said = 0.5 * curriculum.rate.multiplier
        curriculum.step(batch_of(seed=k, dtype=torch.float64))
        assert used[-1] == said
    assert len(set(used)) > 2


def test_a_step_that_ends_in_an_error_leaves_no_rate_behind() -> None:
    curriculum = of(rate=0.5)
    optimizer = curriculum.optimizer
    for k in range(3):
        curriculum.step(batch_of(seed=k, dtype=torch.float64))
    assert curriculum.rate is not None
    curriculum.rate.begins()

    def fails() -> float:
        raise OSError("the disk")

    with pytest.raises(OSError, match="the disk"):
        optimizer.step(fails)
    curriculum.step(batch_of(seed=3, dtype=torch.float64))
    assert optimizer.param_groups[0]["lr"] == 0.5


def test_a_step_beside_is_not_learnt_from() -> None:
    """Of a penalty, between after_step and the next batch."""
    curriculum = of(learn_interval=1)
    assert curriculum.rate is not None
    for k in range(3):
        curriculum.step(batch_of(seed=k, dtype=torch.float64))
    before = curriculum.rate.slope, curriculum.rate.factor.value
    for param in curriculum.bare.parameters():
        param.grad = 1e6 * torch.ones_like(param)
    curriculum.optimizer.step()
    assert (curriculum.rate.slope, curriculum.rate.factor.value) == before


def test_a_param_that_is_trained_later_is_left_out() -> None:
    net = student_of(torch.float64)
    net.weight.requires_grad_(False)  # type: ignore[union-attr]
    optimizer = torch.optim.SGD(net.parameters(), lr=0.5)
    curriculum = curriculum_of(net, optimizer, total_steps=400)
    curriculum.rate = learned(net, optimizer, learn_interval=1)
    curriculum.step(batch_of(dtype=torch.float64))
    net.weight.requires_grad_(True)  # type: ignore[union-attr]
    for k in range(3):
        curriculum.step(batch_of(seed=k, dtype=torch.float64))
    assert curriculum.rate.slope is not None


@pytest.mark.parametrize(("steps", "until"), [(199, 0.5), (99, 1.0)])
def test_a_run_too_short_to_find_a_rate_is_refused(steps: int, until: float) -> None:
    """It would train at a thousandth of the rate."""
    check_room(LearnConfig(learn=("lr",), learn_until=until), steps + 1)
    with pytest.raises(UserError, match="takes 100 steps or more to be found"):
        check_room(LearnConfig(learn=("lr",), learn_until=until), steps)


# States


@pytest.mark.parametrize("cut", [1, 5, 35, 48, 150])
def test_it_goes_on_from_its_state_bit_for_bit(cut: int) -> None:
    def run(curriculum: Curriculum, steps: range) -> None:
        for k in steps:
            curriculum.step(batch_of(seed=k, dtype=torch.float64))

    whole = of(rate=40.0, steps=200, learn_interval=3)  # so high that steps are taken back
    run(whole, range(200))
    first = of(rate=40.0, steps=200, learn_interval=3)
    run(first, range(cut))
    assert first.rate is not None
    assert whole.rate is not None
    state = first.rate.state()
    second = of(rate=40.0, steps=200, learn_interval=3)
    assert second.rate is not None
    second.bare.load_state_dict(first.bare.state_dict())
    second.optimizer.load_state_dict(copy.deepcopy(first.optimizer.state_dict()))
    second.rate.load(copy.deepcopy(state))
    second.step_number = cut
    run(second, range(cut, 200))
    assert torch.equal(params(second.bare), params(whole.bare))
    assert second.rate.factor.state() == whole.rate.factor.state()
    assert second.rate.rejected == whole.rate.rejected


def broken(state: dict[str, Any], name: str, value: Any) -> dict[str, Any]:
    return {**state, name: value}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("step", -1),
        ("rejected", 1.5),
        ("factor", {"value": math.nan, "mean": 0.0, "square": 0.0, "count": 1, "climbs": True}),
        ("factor", {"value": 0.0, "mean": 0.0, "square": 0.0, "count": 1, "climbs": 3}),
        ("trace", {"weight": torch.zeros(2, 2)}),
        ("then", {"values": {}, "states": [], "trace": {}}),
        ("losses", {"first": math.inf, "last": 1.0, "error": 0.0}),
    ],
)
def test_a_state_that_is_none_is_refused_and_changes_nothing(name: str, value: Any) -> None:
    curriculum = of(learn_interval=3)
    for k in range(4):
        curriculum.step(batch_of(seed=k, dtype=torch.float64))
    assert curriculum.rate is not None
    state = curriculum.rate.state()
    with pytest.raises(UserError, match=name):
        curriculum.rate.load(broken(state, name, value))
    now = curriculum.rate.state()
    assert now["factor"] == state["factor"]
    assert now["step"] == state["step"]
