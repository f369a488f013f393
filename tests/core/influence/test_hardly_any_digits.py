"""Influences where numbers are coarse or unusual: losses without digits, casts inside of a student, complex params."""

from __future__ import annotations

import functools

import pytest
import torch
from own_loop import CLASSES, Loop, blobs, noisy, student
from torch import Tensor, nn

from ray_mentor.config import CurriculumConfig, MentorConfig
from ray_mentor.core.student.precision import in_bf16
from ray_mentor.errors import UserError


class Fitted(nn.Module):
    """Its first sample is fitted to one rounding; masks of the others, if it has any, can't be drawn again."""

    def __init__(self, *, masked: bool) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.out, self.masked, self.own = nn.Linear(6, 1), masked, torch.Generator().manual_seed(0)

    def forward(self, x: Tensor) -> Tensor:
        drawn = torch.rand(len(x), 1, generator=self.own) * (torch.arange(len(x)) > 0)[:, None]
        found: Tensor = (self.out(x) * (1 + 0.5 * self.masked * drawn))[:, 0]
        return found


def squared(outputs: Tensor, targets: Tensor) -> Tensor:
    return (outputs - targets).square()


def settings(**changes: object) -> MentorConfig:
    return MentorConfig(**{"update_interval": 1, "meta_batch_size": 8, "meta_loss": "loss", **changes})  # type: ignore[arg-type]


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("estimator", ["jvp", "finite_difference"])
def test_one_sample_that_is_known_by_heart_does_not_hide_the_others(estimator: str, masked: bool) -> None:
    """A squared error's slope falls as the root of the loss: of a loss without digits it is still one."""
    draw = torch.Generator().manual_seed(1)
    inputs = torch.randn(32, 6, generator=draw)
    loop = Loop(
        functools.partial(Fitted, masked=masked),
        lambda model: torch.optim.SGD(model.parameters(), 0.01),
        meta_loader=(torch.randn(8, 6, generator=draw), torch.randn(8, generator=draw)),
        mentor=settings(estimator=estimator),
        loss=squared,
    )
    targets = inputs.sum(1)
    with torch.no_grad():
        targets[0] = torch.nextafter(loop.student.out(inputs)[0, 0], torch.tensor(9.0))
    losses = squared(loop.student(inputs), targets)
    assert 0 < losses.min() < 1e-12
    loss = loop.curriculum.weigh(losses, labels=targets)
    if masked:
        with pytest.raises(UserError, match=r"^the influences of this step do not add up"):
            loop.finish(loss)
    else:
        loop.finish(loss)


@pytest.mark.parametrize("estimator", ["jvp", "finite_difference"])
def test_a_student_that_is_cast_inside(estimator: str) -> None:
    """As the trainer's --precision bf16 does; a step of float32's size is all rounding there."""

    def made(inside: bool) -> nn.Module:
        torch.manual_seed(0)
        model = nn.Sequential(nn.Linear(3, 64), nn.Tanh(), nn.Linear(64, CLASSES))
        return in_bf16(model) if inside else model

    loop = Loop(functools.partial(made, True), mentor=settings(estimator=estimator))
    exact = Loop(functools.partial(made, False), mentor=settings())
    for inputs, labels, _ in noisy(4):
        found, truth = (each.step(inputs, labels).influence for each in (loop, exact))
        assert (found - truth).norm() < 0.1 * truth.norm()
    assert loop.curriculum.guards.skipped_updates == 0


class Complex(nn.Module):
    """Has params of whose imaginary parts the losses depend."""

    def __init__(self) -> None:
        super().__init__()
        draw = torch.Generator().manual_seed(0)
        self.turn = nn.Parameter(0.3 * torch.randn(3, 7, dtype=torch.complex128, generator=draw))
        torch.manual_seed(0)
        self.out = nn.Linear(7, CLASSES).double()

    def forward(self, x: Tensor) -> Tensor:
        found: Tensor = self.out((x.to(torch.complex128) @ self.turn).abs())
        return found


def test_all_estimators_agree_on_complex_params() -> None:
    inputs, labels = blobs(20, 3)
    meta = blobs(30, 1)
    found = {
        estimator: Loop(Complex, mentor=settings(estimator=estimator), meta_loader=(meta[0].double(), meta[1]))
        .step(inputs.double(), labels)
        .influence.double()
        for estimator in ("jvp", "finite_difference", "unrolled")
    }
    for estimator, influence in found.items():
        torch.testing.assert_close(influence, found["jvp"], rtol=1e-4, atol=1e-7, msg=estimator)


class Branches(nn.Module):
    """A branch is used now and then."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.first, self.second, self.uses_second = nn.Linear(3, CLASSES), nn.Linear(3, CLASSES), False

    def forward(self, x: Tensor) -> Tensor:
        found: Tensor = self.first(x) + (self.second(x) if self.uses_second else 0.0)
        return found


def test_a_branch_that_a_later_step_alone_uses() -> None:
    mentor = settings(estimator="unrolled", unroll_steps=2, update_interval=2)
    loop = Loop(Branches, mentor=mentor)
    shown = []
    for number, (inputs, labels, _) in enumerate(noisy(4)):
        loop.student.uses_second = bool(number % 2)
        shown.append(loop.step(inputs, labels).meta_loss)
    assert [value is not None for value in shown] == [False, True, False, True]


def test_an_empty_share_with_a_loss_history() -> None:
    mentor = settings(history_length=2, mentor_features=("loss", "history"))
    loop = Loop(student, mentor=mentor, n_samples=20, curriculum=CurriculumConfig(burn_in=0.0))
    none = torch.zeros(0, dtype=torch.long)
    with pytest.raises(UserError, match="no sample"):
        loop.weigh(torch.zeros(0, 3), none, none)


def normed_student(seed: int) -> nn.Module:
    """Biases before a batch norm have gradient 0, but for what rounding leaves of it."""
    torch.manual_seed(seed)
    body = [[nn.Linear(width, 16), nn.BatchNorm1d(16), nn.ReLU()] for width in (3, 16)]
    return nn.Sequential(*body[0], *body[1], nn.Linear(16, CLASSES))


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("twice", [False, True])
def test_gradients_that_are_rounding_alone_on_adams_first_step(seed: int, twice: bool) -> None:
    """Its slope is steepest along just these: what they make of the sum is no sign of a wrong influence."""
    loop = Loop(
        functools.partial(normed_student, seed),
        lambda model: torch.optim.AdamW(model.parameters(), 0.01),
        mentor=settings(meta_batch_size=30),
    )
    loss = loop.weigh(*next(noisy(1, first=seed)))
    if twice:
        loss.backward(retain_graph=True)
    loss.backward()
    loop.optimizer.step()
    record = loop.curriculum.after_step()
    assert record is not None
    assert record.influence.isfinite().all()
    assert loop.curriculum.guards.skipped_updates == 0
