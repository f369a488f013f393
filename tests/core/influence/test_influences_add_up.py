"""Σ ŵ_i s_i is what the step's own backward pass says, or the update is refused, skipped and counted."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from own_loop import CLASSES, Loop, adam, blobs, coupled_student, mentor_bytes, momentum, noisy, per_sample, student
from set_mentors import batch, linear, run_of
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from ray_mentor.config import CurriculumConfig, MentorConfig
from ray_mentor.core.influence.estimators import FiniteDifference, ForwardMode
from ray_mentor.core.influence.heard_gradient import HeardGradient
from ray_mentor.core.losses import cross_entropy
from ray_mentor.core.methods.mixing import make_mixing
from ray_mentor.core.step.memorising import MemorisingState
from ray_mentor.core.step.record import StepRecord
from ray_mentor.errors import UserError

SETTINGS: dict[str, Any] = {"update_interval": 1, "meta_batch_size": 16, "meta_loss": "loss"}
NO_BURN_IN = CurriculumConfig(burn_in=0.0)
SMOOTHING = 0.05


def smoothed(outputs: Tensor, labels: Tensor) -> Tensor:
    return F.cross_entropy(outputs, labels, reduction="none", label_smoothing=SMOOTHING)


class Odd(nn.Module):
    """A student that one can't look back on, each for a reason of its own.

    Args:
        reason: what it does.
        after: forward passes of training from which on it does it.
    """

    def __init__(self, reason: str, after: int = 0) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.enter, self.leave = nn.Linear(3, 16), nn.Linear(16, CLASSES)
        self.reason, self.after, self.calls = reason, after, 0
        self.own, self.numpys = torch.Generator().manual_seed(0), np.random.default_rng(1)

    def forward(self, x: Tensor) -> Tensor:
        self.calls += 1
        odd = self.reason if self.calls > self.after else ""
        hidden = torch.relu(self.enter(x))
        if odd == "masks of a generator of its own":
            hidden = hidden * (torch.rand(hidden.shape, generator=self.own) < 0.7)
        if odd == "masks of a NumPy generator of its own":
            hidden = hidden * torch.from_numpy(self.numpys.random(hidden.shape) < 0.7)
        if odd == "a counter":
            hidden = hidden * (1 + 0.1 * self.calls)
        out: Tensor = self.leave(hidden)
        return out


REASONS = (
    "masks of a generator of its own",
    "masks of a NumPy generator of its own",
    "a counter",
)


class Stopped(nn.Module):
    """Rounds, with the gradient of the identity: right under detach, but finite differences see the rounding."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.enter, self.leave = nn.Linear(3, 16), nn.Linear(16, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        hidden = self.enter(x)
        hidden = hidden + ((2 * hidden).round() / 2 - hidden).detach()
        out: Tensor = self.leave(torch.relu(hidden))
        return out


DOES_NOT = "^the influences of this step do not add up: weighted they sum to "


def loop_of(make_student: Callable[[], nn.Module] = student, **changes: Any) -> Loop:
    mentor = changes.pop("mentor", {})
    return Loop(make_student, **{"mentor": MentorConfig(**{**SETTINGS, **mentor}), **changes})


# What is refused at the first step


@pytest.mark.parametrize("estimator", ["jvp", "finite_difference", "last_layer", "unrolled"])
@pytest.mark.parametrize("reason", REASONS)
def test_a_student_that_cannot_be_looked_back_on(reason: str, estimator: str) -> None:
    """In the first step, though by default no update is due before 15 % of training are over."""
    if estimator == "last_layer":
        pytest.skip("it hears the training forward pass, and repeats none")
    loop = loop_of(lambda: Odd(reason), mentor={"estimator": estimator}, curriculum=CurriculumConfig())
    with pytest.raises(UserError, match=DOES_NOT):
        loop.run(1)


@pytest.mark.parametrize("reason", REASONS)
def test_the_last_layers_influences_are_heard_and_need_no_look_back(reason: str) -> None:
    loop = loop_of(lambda: Odd(reason), mentor={"estimator": "last_layer"})
    loop.run(3)
    assert loop.curriculum.guards.inconsistent_updates == 0


@pytest.mark.parametrize("estimator", ["jvp", "finite_difference", "last_layer", "unrolled"])
@pytest.mark.parametrize("burn_in", [0.0, 0.15])
def test_another_loss_than_the_loops(burn_in: float, estimator: str) -> None:
    """5 % of label smoothing: its losses hardly differ from those of the loop, its influences by 20 %."""
    loop = loop_of(loss=smoothed, curriculum=CurriculumConfig(burn_in=burn_in), mentor={"estimator": estimator})
    with pytest.raises(UserError, match=DOES_NOT):
        loop.run(1)


def test_finite_differences_of_a_stopped_gradient() -> None:
    with pytest.raises(
        UserError, match=r"finite differences, which see through detach, no_grad and gradients of one's"
    ):
        loop_of(Stopped, mentor={"estimator": "finite_difference"}, curriculum=CurriculumConfig()).run(1)
    for sound in ("jvp", "unrolled"):
        loop_of(Stopped, mentor={"estimator": sound}).run(3)


def test_a_term_that_is_added_to_the_loss_and_one_that_is_not() -> None:
    def penalty(model: nn.Module) -> Tensor:
        return torch.stack([param.abs().sum() for param in model.parameters()]).sum()

    apart, added = loop_of(), loop_of()
    for inputs, labels, ids in noisy(4):
        loss = apart.weigh(inputs, labels, ids)
        apart.optimizer.zero_grad()
        loss.backward()
        (0.1 * penalty(apart.student)).backward()
        apart.optimizer.step()
        assert apart.curriculum.after_step() is not None
    assert apart.curriculum.guards.state.inconsistent == 0
    inputs, labels, ids = next(noisy(1))
    with pytest.raises(UserError, match=r"a term added to the loss that weigh returned \(call backward on it apart\)"):
        added.finish(added.weigh(inputs, labels, ids) + 0.1 * penalty(added.student))


def test_a_backward_pass_that_comes_from_elsewhere() -> None:
    loop = loop_of(curriculum=CurriculumConfig())
    inputs, labels, _ = next(noisy(1))
    losses = per_sample(loop.student(inputs), labels)
    loop.curriculum.weigh(losses, labels=labels)
    losses.mean().backward()
    loop.optimizer.step()
    with pytest.raises(
        UserError,
        match=r"^no backward pass came from the loss that weigh returned since the student's last forward pass; call "
        r"backward on that loss, before the optimizer's step$",
    ):
        loop.curriculum.after_step()


@pytest.mark.parametrize("estimator", ["jvp", "unrolled"])
@pytest.mark.parametrize("reason", REASONS)
@pytest.mark.parametrize("burn_in", [0.0, 0.5])
def test_the_trainers_curriculum_refuses_it_too(burn_in: float, reason: str, estimator: str) -> None:
    made = Odd(reason)
    made.enter = nn.Linear(4, 16)
    curriculum = run_of(linear(("loss",), [-1.0], estimator=estimator), made, estimator=estimator, burn_in=burn_in)
    with pytest.raises(UserError, match=DOES_NOT):
        curriculum.step(batch())


# What is found later


def late(first: int, **changes: Any) -> Loop:
    """A loop whose student begins to count its calls after so many of them."""
    return loop_of(lambda: Odd("a counter", first), **changes)


@pytest.mark.parametrize("estimator", ["jvp", "unrolled"])
def test_later_it_is_counted_and_the_mentor_left_as_it_was(estimator: str) -> None:
    in_a_look = {"jvp": 2, "unrolled": 3}[estimator]  # calls: meta batch, and what the estimator does
    loop = late(1 + 2 * in_a_look, mentor={"estimator": estimator})  # the first step is tried, and then looked back on
    records, mentors = [], []
    for step in noisy(4):
        records.append(loop.step(*step))
        mentors.append(mentor_bytes(loop.curriculum))
    guards = loop.curriculum.guards
    found = [bool(record.influence.isnan().all()) for record in records]
    assert found == [False, True, True, True]
    assert guards.inconsistent_updates == guards.skipped_updates == 3
    for step in range(1, 4):
        assert (mentors[step] == mentors[step - 1]) is found[step]
        assert records[step].meta_loss is not None


def test_the_counts_are_in_the_state() -> None:
    loop = loop_of()
    loop.run(1)
    loop.curriculum.guards.count_inconsistent()
    again = loop_of()
    again.curriculum.load_state_dict(loop.curriculum.state_dict())
    assert again.curriculum.guards.inconsistent_updates == 1
    assert again.curriculum.guards.state == loop.curriculum.guards.state


def test_a_state_of_before_there_were_these_counts() -> None:
    loop = loop_of()
    loop.run(2)
    state = loop.curriculum.state_dict()
    for name in ("inconsistent", "without_influence", "rounding"):
        del state["curriculum"]["guards"][name]
    again = loop_of()
    again.curriculum.load_state_dict(state)
    assert again.curriculum.guards.inconsistent_updates == 0


# What is not refused


Finish = Callable[[Loop, Tensor], Any]


def scaled(loop: Loop, loss: Tensor) -> None:
    (loss / 7).backward()


def clipped(loop: Loop, loss: Tensor) -> None:
    loss.backward()
    nn.utils.clip_grad_norm_(loop.student.parameters(), 1e-2)


def clipped_by_value(loop: Loop, loss: Tensor) -> None:
    loss.backward()
    nn.utils.clip_grad_value_(loop.student.parameters(), 1e-3)


def with_noise(loop: Loop, loss: Tensor) -> None:
    loss.backward()
    for param in loop.student.parameters():
        assert param.grad is not None
        param.grad.add_(torch.randn_like(param))


def twice(loop: Loop, loss: Tensor) -> None:
    loss.backward(retain_graph=True)
    loss.backward()


def by_hand(loop: Loop, loss: Tensor) -> None:
    params = list(loop.student.parameters())
    for param, gradient in zip(params, torch.autograd.grad(loss, params), strict=True):
        param.grad = gradient


@pytest.mark.parametrize("finish", [scaled, clipped, clipped_by_value, with_noise, twice, by_hand])
@pytest.mark.parametrize("make_optimizer", [momentum, adam])
@pytest.mark.parametrize("make_student", [student, coupled_student])
def test_what_may_stand_between_backward_and_step(
    make_student: Callable[[], nn.Module], make_optimizer: Callable[[nn.Module], Any], finish: Finish
) -> None:
    loop = loop_of(make_student, make_optimizer=make_optimizer)
    for inputs, labels, ids in noisy(6):
        loss = loop.weigh(inputs, labels, ids)
        loop.optimizer.zero_grad()
        finish(loop, loss)
        loop.optimizer.step()
        record = loop.curriculum.after_step()
        assert record is not None
        assert record.influence.isfinite().all()
    assert loop.curriculum.guards.skipped_updates == 0


@pytest.mark.parametrize("make_student", [student, coupled_student])
@pytest.mark.parametrize("wrong", [False, True])
def test_micro_batches_do_not_hide_it(make_student: Callable[[], nn.Module], wrong: bool) -> None:
    """The last one's influences are held against its own backward pass, clipping or not."""
    loop = loop_of(make_student, loss=smoothed if wrong else None)

    def step() -> StepRecord | None:
        loop.optimizer.zero_grad()
        for inputs, labels, ids in noisy(3):
            (loop.weigh(inputs, labels, ids) / 3).backward()
        nn.utils.clip_grad_norm_(loop.student.parameters(), 1e-2)
        loop.optimizer.step()
        return loop.curriculum.after_step()

    if wrong:
        with pytest.raises(UserError, match=DOES_NOT):
            step()
    else:
        assert all(step() is not None for _ in range(4))
        assert loop.curriculum.guards.skipped_updates == 0


@pytest.mark.parametrize("wrong", [False, True])
def test_a_gradient_scaler_does_not_hide_it(wrong: bool) -> None:
    loop = loop_of(loss=smoothed if wrong else None)
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**12)

    def step(inputs: Tensor, labels: Tensor, ids: Tensor) -> None:
        loss = loop.weigh(inputs, labels, ids)
        loop.optimizer.zero_grad()
        scaler.scale(loss).backward()
        scaler.unscale_(loop.optimizer)
        nn.utils.clip_grad_norm_(loop.student.parameters(), 1e-2)
        scaler.step(loop.optimizer)
        scaler.update()
        assert loop.curriculum.after_step() is not None

    if wrong:
        with pytest.raises(UserError, match=DOES_NOT):
            step(*next(noisy(1)))
    else:
        for one in noisy(4):
            step(*one)
        assert loop.curriculum.guards.skipped_updates == 0


class Halved(nn.Module):
    """bfloat16 inside, float32 outside: nothing around the student's forward pass says so."""

    def __init__(self, how: str) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.enter, self.leave, self.how = nn.Linear(3, 16), nn.Linear(16, CLASSES), how

    def forward(self, x: Tensor) -> Tensor:
        if self.how == "autocast":
            with torch.autocast("cpu", torch.bfloat16):
                return self.leave(torch.relu(self.enter(x))).float()  # type: ignore[no-any-return]
        half = torch.bfloat16
        hidden = torch.relu(F.linear(x.to(half), self.enter.weight.to(half), self.enter.bias.to(half)))
        return F.linear(hidden, self.leave.weight.to(half)).float() + self.leave.bias


@pytest.mark.parametrize("how", ["autocast", "casts"])
@pytest.mark.parametrize("size", [1, 20])
def test_a_coarse_type_inside_the_student(how: str, size: int) -> None:
    loop = loop_of(lambda: Halved(how))
    for inputs, labels, ids in noisy(12):
        loop.step(inputs[:size], labels[:size], ids[:size])
    assert loop.curriculum.guards.state.rounding == torch.finfo(torch.bfloat16).eps
    assert loop.curriculum.guards.skipped_updates == 0
    plain = loop_of()
    plain.run(1)
    assert plain.curriculum.guards.state.rounding == torch.finfo(torch.float32).eps


@pytest.mark.parametrize("rate", [0.05, 1e-5, 1e-7])
def test_the_small_range_of_float16_is_no_matter(rate: float) -> None:
    """At the end of a schedule tangents along D∇M are below what float16 holds: 43 % off at a rate of 1e-7."""
    found = []
    for half in (True, False):
        loop = loop_of(make_optimizer=lambda model: torch.optim.SGD(model.parameters(), rate))
        for inputs, labels, ids in noisy(3):
            with torch.autocast("cpu", torch.float16, enabled=half):
                losses = per_sample(loop.student(inputs), labels)
            loss = loop.curriculum.weigh(losses, labels=labels, sample_ids=ids)
            loop.optimizer.zero_grad()
            (1024 * loss).backward()
            for param in loop.student.parameters():
                assert param.grad is not None
                param.grad.div_(1024)
            loop.optimizer.step()
            record = loop.curriculum.after_step()
            assert record is not None
        found.append(record.influence)
        assert loop.curriculum.guards.skipped_updates == 0
    torch.testing.assert_close(*found, rtol=0.01, atol=0.01 * float(found[1].abs().max()))


class Checkpointed(nn.Module):
    """The same params in two segments."""

    def __init__(self, reentrant: bool) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.enter, self.inner, self.leave = nn.Linear(3, 16), nn.Linear(16, 16), nn.Linear(16, CLASSES)
        self.reentrant = reentrant

    def forward(self, x: Tensor) -> Tensor:
        hidden = self.enter(x)
        for _ in range(2):
            hidden = checkpoint(lambda h: torch.tanh(self.inner(h)), hidden, use_reentrant=self.reentrant)
        out: Tensor = self.leave(hidden)
        return out


@pytest.mark.parametrize(
    ("estimator", "reentrant"),
    [("jvp", False), ("finite_difference", False), ("last_layer", False), ("last_layer", True)],
)
def test_checkpointing(estimator: str, reentrant: bool) -> None:
    loop = loop_of(lambda: Checkpointed(reentrant), mentor={"estimator": estimator})
    loop.run(4)
    assert loop.curriculum.guards.state.inconsistent == 0
    assert loop.curriculum.guards.state.rounding is not None


def test_unrolled_does_not_follow_checkpoints() -> None:
    """What a checkpoint computes again in a backward pass, it computes with the params of then: after the step."""
    with pytest.raises(UserError, match="estimator is 'unrolled', but the student checkpoints activations"):
        loop_of(lambda: Checkpointed(reentrant=False), mentor={"estimator": "unrolled"}).run(1)


def memorised() -> nn.Module:
    """Knows all labels by heart, with losses between 0 and 1e-5: float32 has lost their digits."""
    torch.manual_seed(0)
    made = nn.Sequential(nn.Linear(3, 16), nn.ReLU(), nn.Linear(16, CLASSES))
    optimizer = torch.optim.Adam(made.parameters(), 0.05)
    inputs, labels = blobs(60, 0)
    for _ in range(300):
        optimizer.zero_grad()
        per_sample(made(inputs), labels).mean().backward()
        optimizer.step()
    with torch.no_grad():
        made[2].weight.mul_(3)
        made[2].bias.mul_(3)
    return made


@pytest.mark.long
@pytest.mark.parametrize("scale", [1.0, 3.0, 100.0])
@pytest.mark.parametrize("estimator", ["jvp", "finite_difference", "last_layer"])
def test_a_student_that_has_learnt_by_heart(estimator: str, scale: float) -> None:
    def made() -> nn.Module:
        model = memorised()
        with torch.no_grad():
            model[2].weight.mul_(scale)  # type: ignore[index]
            model[2].bias.mul_(scale)  # type: ignore[index]
        return model

    loop = loop_of(made, make_optimizer=hardly_moving, mentor={"estimator": estimator})
    inputs, labels = blobs(60, 0)
    for start in (0, 20, 40):
        loop.step(inputs[start : start + 20], labels[start : start + 20])
    assert loop.curriculum.guards.inconsistent_updates == 0


def hardly_moving(model: nn.Module) -> torch.optim.Optimizer:
    return torch.optim.SGD(model.parameters(), 1e-6)


def test_trusted_samples_and_example_dropout() -> None:
    loop = loop_of(coupled_student, curriculum=CurriculumConfig(burn_in=0.0, example_dropout="0.5:1"))
    for inputs, labels, _ in noisy(6):
        losses = per_sample(loop.student(inputs), labels)
        loss = loop.curriculum.weigh(losses, labels=labels, trusted=torch.arange(20) % 4 == 0)
        assert loop.finish(loss).influence.isfinite().all()
    assert loop.curriculum.guards.skipped_updates == 0


@pytest.mark.parametrize("mixing", ["mixup", "mentormix"])
def test_mixed_batches(mixing: str) -> None:
    mentor = linear(("loss",), [-1.0])
    curriculum = run_of(mentor, mixing=make_mixing(mixing, 8.0))
    curriculum.memorising.state = MemorisingState(share=1.0)
    for seed in range(4):
        assert curriculum.step(batch(seed)).influence.isfinite().all()
    assert curriculum.guards.skipped_updates == 0
    assert curriculum.guards.state.rounding is not None


# Where less can be said


def test_of_some_samples_the_first_step_alone_is_compared() -> None:
    """All of it, though the influences of a few are asked for."""
    with pytest.raises(UserError, match=DOES_NOT):
        loop_of(loss=smoothed, mentor={"influence_samples": 5}).run(1)
    loop = late(8, mentor={"influence_samples": 5})
    loop.run(6)
    assert loop.curriculum.guards.inconsistent_updates == 0


def test_of_several_steps_the_first_alone_is_compared() -> None:
    settings = {"estimator": "unrolled", "unroll_steps": 2, "update_interval": 2}
    with pytest.raises(UserError, match=DOES_NOT):
        loop_of(loss=smoothed, mentor=settings).run(1)
    loop = loop_of(mentor=settings)
    loop.run(4)
    assert loop.curriculum.guards.state.rounding is not None


@pytest.mark.parametrize("estimator", ["jvp", "finite_difference", "last_layer"])
def test_a_rate_of_0_at_the_first_step_hides_nothing(estimator: str) -> None:
    """A schedule may begin with 0: nothing can be seen along D∇M = 0, and all along the gradient."""

    def at_rest(model: nn.Module) -> torch.optim.Optimizer:
        return torch.optim.SGD(model.parameters(), 0.0)

    with pytest.raises(UserError, match=DOES_NOT):
        loop_of(make_optimizer=at_rest, loss=smoothed, mentor={"estimator": estimator}).run(1)
    loop_of(make_optimizer=at_rest, mentor={"estimator": estimator}).run(1)


# Influences that are all 0


def test_influences_of_0_are_counted() -> None:
    def at_rest(model: nn.Module) -> torch.optim.Optimizer:
        return torch.optim.SGD(model.parameters(), 0.0)

    loop = loop_of(make_optimizer=at_rest, mentor={"update_interval": 2})
    loop.run(5)
    guards = loop.curriculum.guards
    assert (guards.updates_without_influence, guards.skipped_updates) == (3, 0)
    moving = loop_of()
    moving.run(5)
    assert moving.curriculum.guards.updates_without_influence == 0


def test_influences_of_a_few_that_are_0() -> None:
    """What was not computed is not 0."""
    mentor = linear(("loss",), [-1.0], influence_samples=3)
    curriculum = run_of(mentor, optimizer=None, influence_samples=3)
    curriculum.step(batch())
    curriculum.optimizer.param_groups[0]["lr"] = 0.0
    curriculum.step(batch(1))
    assert curriculum.guards.updates_without_influence == 1


def test_a_loss_that_is_cut_off_is_no_loss_of_the_loops() -> None:
    """All its influences are 0; those of the loop's are not."""

    def cut(outputs: Tensor, labels: Tensor) -> Tensor:
        return cross_entropy(outputs, labels).detach() + 0 * outputs.sum(1)

    with pytest.raises(UserError, match=DOES_NOT):
        loop_of(loss=cut, mentor={"meta_loss": "loss"}).run(1)


# All of it, in numbers


def test_the_update_that_is_skipped_is_told_to_the_mentor_as_not_finite(monkeypatch: pytest.MonkeyPatch) -> None:
    found = ForwardMode.__call__
    factor = 1.0

    def off(estimator: ForwardMode, *given: Any) -> Tensor:
        return factor * found(estimator, *given)

    monkeypatch.setattr(ForwardMode, "__call__", off)
    mentor = linear(("loss",), [-1.0])
    curriculum = run_of(mentor)
    curriculum.step(batch())
    for factor, skipped in ((1 + 5e-5, 0), (1.001, 1), (1.0, 1), (-1.0, 2)):
        before = mentor.state.payload
        record = curriculum.step(batch(1))
        assert mentor.skipped == curriculum.guards.inconsistent_updates == skipped
        is_off = abs(factor - 1) > 1e-4
        assert record.influence.isnan().all() == is_off
        assert mentor.updates[-1].influence.isinf().all() == is_off
        assert (mentor.state.payload == before) == is_off


def test_finite_differences_may_be_off_by_more(monkeypatch: pytest.MonkeyPatch) -> None:
    found = FiniteDifference.__call__
    factor = 1.0

    def off(estimator: FiniteDifference, *given: Any) -> Tensor:
        return factor * found(estimator, *given)

    monkeypatch.setattr(FiniteDifference, "__call__", off)
    curriculum = run_of(linear(("loss",), [-1.0], estimator="finite_difference"), estimator="finite_difference")
    curriculum.step(batch())
    for factor, inconsistent in ((1.02, 0), (1.1, 1)):  # noqa: B007 - the estimator reads it
        curriculum.step(batch(1))
        assert curriculum.guards.inconsistent_updates == inconsistent


def test_what_was_heard_is_let_go() -> None:
    """No copy of a gradient and no hook outlives the look back, whether it ends well or not."""

    def hooks(model: nn.Module) -> int:
        return sum(len(param._backward_hooks or ()) for param in model.parameters())

    loop, wrong = loop_of(), loop_of(loss=smoothed)
    loop.run(2)
    with pytest.raises(UserError, match=DOES_NOT):
        wrong.run(1)
    assert hooks(loop.student) == hooks(wrong.student) == 0
    loop.weigh(*next(noisy(1)))
    assert hooks(loop.student) == 4
    loop.weigh(*next(noisy(1)))
    assert hooks(loop.student) == 4, "the micro-batch before is heard no more"


@pytest.mark.parametrize("chunk", [1, 20, 10**6])
def test_the_product_with_a_direction(chunk: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the loss itself, whatever factor stands before it; a direction may lack params."""
    monkeypatch.setattr("ray_mentor.core.influence.chunks.CHUNK", chunk)
    model = student()
    inputs, labels = blobs(20, 0)
    loss = per_sample(model(inputs), labels).mean()
    heard = HeardGradient(model)
    heard.follow(loss)
    (7 * loss).backward()
    direction = {name: torch.randn_like(param) for name, param in model.named_parameters() if name != "0.bias"}
    gradients = {name: param.grad for name, param in model.named_parameters()}
    expected = sum(float((value * gradients[name]).sum()) for name, value in direction.items()) / 7  # type: ignore[operator]
    assert heard.along(direction) == pytest.approx(expected, rel=1e-4)
    assert heard.along({}) == 0.0


def test_a_heard_gradient_is_a_copy_in_a_room_that_is_used_again() -> None:
    """Whatever becomes of ``.grad``: in place, as clipping does, or of another type the next time."""
    model, (inputs, labels) = student(), blobs(20, 0)
    room: dict[str, Tensor] = {}
    held: list[dict[str, int]] = []
    for dtype in (torch.float32, torch.float32, torch.float64):
        model.to(dtype).zero_grad()
        loss = per_sample(model(inputs.to(dtype)), labels).mean()
        heard = HeardGradient(model, room)
        heard.follow(loss)
        loss.backward()
        gradients = {name: param.grad.clone() for name, param in model.named_parameters()}  # type: ignore[union-attr]
        for param in model.parameters():
            param.grad.zero_()  # type: ignore[union-attr]
        direction = {name: torch.randn_like(param) for name, param in model.named_parameters()}
        expected = sum(float((value * gradients[name]).sum()) for name, value in direction.items())
        assert heard.along(direction) == pytest.approx(expected, rel=1e-4)
        heard.forget()
        held.append({name: gradient.data_ptr() for name, gradient in room.items()})
    assert held[0] == held[1]
    assert all(gradient.dtype == torch.float64 for gradient in room.values())


def test_a_run_without_a_mentor_is_not_looked_at() -> None:
    loop = loop_of(lambda: Odd("a counter"), curriculum=CurriculumConfig(method="self-paced"))
    loop.run(3)
    assert not loop.curriculum.curriculum.is_looked_back_on
