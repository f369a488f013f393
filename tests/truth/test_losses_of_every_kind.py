"""Losses of the user's own, of any size and sign, under the defaults: true influences, and a mentor that learns."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ray_mentor.config import CurriculumConfig, MentorConfig
from ray_mentor.core.exchange import Alone
from ray_mentor.core.influence.estimators import ForwardMode
from ray_mentor.core.losses import ExpectedError, expected_error
from ray_mentor.core.mentor.access import LocalMentor
from ray_mentor.core.mentor.learner import MentorLearner
from ray_mentor.core.methods.mixing import MentorMix
from ray_mentor.core.methods.table import parts_of
from ray_mentor.core.own_loop.learned_curriculum import LearnedCurriculum
from ray_mentor.errors import UserError

N, N_META = 24, 30


@dataclass(frozen=True)
class Task:
    """A student, its loss, what it is trained on (every third target wrong) and what is trusted."""

    outputs: int
    loss: Callable[[Tensor, Tensor], Tensor]
    inputs: Tensor
    targets: Tensor
    meta: tuple[Tensor, Tensor]
    rate: float

    def student(self) -> nn.Module:
        torch.manual_seed(0)
        return nn.Sequential(nn.Linear(6, 12), nn.Tanh(), nn.Linear(12, self.outputs)).double()


WRONG = torch.arange(N) % 3 == 0


def task(
    outputs: int,
    loss: Callable[[Tensor, Tensor], Tensor],
    truth: Callable[[Tensor], Tensor],
    falsified: Callable[[Tensor], Tensor],
    rate: float,
    shape: tuple[int, ...] = (),
) -> Task:
    draw = torch.Generator().manual_seed(3)
    inputs, meta = (torch.randn(n, *shape, 6, generator=draw, dtype=torch.float64) for n in (N, N_META))
    targets = truth(inputs)
    targets[WRONG] = falsified(targets[WRONG])
    return Task(outputs, loss, inputs, targets, (meta, truth(meta)), rate)


def token_losses(outputs: Tensor, tokens: Tensor) -> Tensor:
    return F.cross_entropy(outputs.flatten(0, 1), tokens.flatten(), reduction="none").view(tokens.shape).sum(1)


def label_losses(outputs: Tensor, labels: Tensor) -> Tensor:
    return F.binary_cross_entropy_with_logits(outputs, labels, reduction="none").sum(1)


def gaussian(outputs: Tensor, targets: Tensor) -> Tensor:
    """−log N(y; μ, σ) of targets of some hundredths: mostly below 0."""
    mean, scale = 0.01 * outputs[:, 0], 0.01 * (0.1 * outputs[:, 1]).exp()
    return ((targets - mean) / scale).square() / 2 + scale.log()


def squared(outputs: Tensor, targets: Tensor) -> Tensor:
    return (outputs[:, 0] - targets).square()


TASKS = {
    "cross-entropy summed over 200 tokens": task(
        4, token_losses, lambda x: x[..., :4].argmax(-1), lambda y: (y + 1) % 4, 2e-3, (200,)
    ),
    "binary cross-entropy summed over 80 labels": task(
        80, label_losses, lambda x: (x[:, torch.arange(80) % 6] > 0).double(), lambda y: 1 - y, 0.02
    ),
    "Gaussian, below 0": task(2, gaussian, lambda x: 0.01 * x[:, 0], lambda y: y + 0.04, 0.01),
    "squared error, targets 30 ± 10": task(1, squared, lambda x: 30 + 10 * x[:, 0], lambda y: y.flip(0) - 30, 2e-4),
}
EACH = pytest.mark.parametrize("kind", TASKS)


def trained(
    kind: str, steps: int, mentor: MentorConfig | None = None, scale: float = 1.0
) -> tuple[LearnedCurriculum, Task, nn.Module]:
    """All samples every step. All settings but how often the mentor learns are the defaults."""
    plain = TASKS[kind]
    made = replace(plain, loss=lambda *given: scale * plain.loss(*given), rate=plain.rate / scale)
    student = made.student()
    optimizer = torch.optim.SGD(student.parameters(), made.rate, momentum=0.9)
    curriculum = LearnedCurriculum(
        student, optimizer, made.meta, total_steps=600, loss=made.loss, mentor=mentor, update_interval=2
    )
    for _ in range(steps):
        loss = curriculum.weigh(made.loss(student(made.inputs), made.targets), labels=made.targets)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        curriculum.after_step()
    return curriculum, made, student


@pytest.mark.long
@EACH
def test_influences_are_those_of_real_steps(kind: str) -> None:
    """Central differences of the mean meta loss in each ŵ_i, over real steps of copies."""
    curriculum, made, student = trained(kind, 100)
    optimizer = curriculum.curriculum.optimizer
    model, used = copy.deepcopy((student, optimizer))
    loss = curriculum.weigh(made.loss(student(made.inputs), made.targets), labels=made.targets)
    normalised = (curriculum.sample_weights / curriculum.sample_weights.sum()).double()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    record = curriculum.after_step()
    assert record is not None

    def meta_loss(shift: Tensor) -> Tensor:
        moved, stepper = copy.deepcopy((model, used))
        stepper.zero_grad()
        ((normalised + shift) * made.loss(moved(made.inputs), made.targets)).sum().backward()
        stepper.step()
        with torch.no_grad():
            return made.loss(moved(made.meta[0]), made.meta[1]).mean()

    h = 1e-5
    truth = torch.stack([(meta_loss(h * row) - meta_loss(-h * row)) / (2 * h) for row in torch.eye(N).double()])
    assert record.meta_loss == pytest.approx(float(meta_loss(torch.zeros(N))), rel=1e-5)
    assert float((record.influence - truth).norm() / truth.norm()) < 1e-5
    assert float(truth.abs().min()) > 0


@pytest.mark.long
@pytest.mark.parametrize("scale", [1.0, 2**-10, pytest.param(2**10, marks=pytest.mark.slow)])
@EACH
def test_the_mentor_learns_under_the_defaults(kind: str, scale: float) -> None:
    """And learns the same of a loss that is larger or smaller as a whole."""
    curriculum, made, student = trained(kind, 300, scale=scale)
    curriculum.weigh(made.loss(student(made.inputs), made.targets), labels=made.targets)
    weights = curriculum.sample_weights
    assert curriculum.guards.skipped_updates == 0
    assert float(weights[~WRONG].mean()) > float(weights[WRONG].mean()) + 0.2


@EACH
def test_the_expected_error_of_such_a_loss_is_refused_at_the_first_meta_batch(kind: str) -> None:
    with pytest.raises(UserError) as refused:
        trained(kind, 200, MentorConfig(meta_loss="error"))
    reason = "is below 0, as no negative log-likelihood of a label can be; give meta_loss='loss'"
    if "Gaussian" not in kind:
        reason = (
            "samples of the first meta batch, so that they have no say; give meta_loss='loss', or let the loss be the"
        )
    assert reason in str(refused.value)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32, torch.float64])
def test_the_slope_of_the_expected_error_does_not_round_to_nothing(dtype: torch.dtype) -> None:
    """exp(−ℓ) of the loss as its type holds it, as precisely as float32 and the type say."""
    losses = torch.tensor([1e-4, 0.5, 1.0, 3.0, 6.0, 8.0, 12.0, 17.0, 30.0, 80.0], dtype=dtype)
    if dtype == torch.float16:
        losses = losses[:-3]  # below its smallest number
    losses.requires_grad_()
    values = expected_error(losses)
    assert values.dtype == torch.promote_types(dtype, torch.float32)
    (slope,) = torch.autograd.grad(values.sum(), losses)
    exact = losses.detach().double()
    precision = max(torch.finfo(dtype).eps, 1e-14)
    torch.testing.assert_close(
        slope.double(), torch.exp(-exact), rtol=4 * precision, atol=1e-7 * (dtype == torch.float16)
    )
    torch.testing.assert_close(values.detach().double(), -torch.expm1(-exact), rtol=max(precision, 2e-7), atol=0)


@pytest.mark.parametrize("loss", [1e-30, 1e-9, 1e-3, 1.0, 40.0])
def test_the_expected_error_has_the_second_derivative_and_the_tangent_that_it_should(loss: float) -> None:
    ForwardMode()  # loads PyTorch's formulas, which warn of themselves
    at = torch.tensor(loss, dtype=torch.float64, requires_grad=True)
    (slope,) = torch.autograd.grad(expected_error(at), at, create_graph=True)
    (bend,) = torch.autograd.grad(slope, at)
    _, tangent = torch.func.jvp(expected_error, (at.detach(),), (torch.ones((), dtype=torch.float64),))
    for found, expected in ((slope, math.exp(-loss)), (bend, -math.exp(-loss)), (tangent, math.exp(-loss))):
        assert float(found.detach()) == pytest.approx(expected, rel=1e-12, abs=0)


class Pair(Alone):
    """One of two ranks, whose sums count what the other has."""

    def __init__(self, other: float) -> None:
        self._other = other

    def total(self, value: float) -> float:
        return value + self._other


@pytest.mark.parametrize(("losses", "others"), [([-0.1], 0.0), ([0.1], 1.0)])
def test_every_rank_refuses_what_one_has_seen(losses: list[float], others: float) -> None:
    meta_loss = ExpectedError(lambda outputs, _: outputs, in_doubt=True)
    meta_loss(torch.tensor(losses), torch.zeros(1))
    with pytest.raises(UserError, match="the loss of 1 meta samples is below 0"):
        meta_loss.check(Pair(others), is_first_update=False)


def test_a_loss_that_falls_below_0_later_is_refused_then() -> None:
    meta_loss = ExpectedError(lambda outputs, _: outputs, in_doubt=True)
    for values, is_first in (([0.0, 0.7, 30.0], True), ([9.0, 30.0, 0.0], False)):
        meta_loss(torch.tensor(values), torch.zeros(3))
        meta_loss.check(Alone(), is_first_update=is_first)
    meta_loss(torch.tensor([0.1, -1e-3]), torch.zeros(2))
    with pytest.raises(UserError, match="the loss of 1 meta samples is below 0"):
        meta_loss.check(Alone(), is_first_update=False)


def test_a_loss_that_is_below_0_is_refused_after_the_first_step() -> None:
    made = TASKS["squared error, targets 30 ± 10"]
    student = made.student()
    optimizer = torch.optim.SGD(student.parameters(), 1e-4)
    below = lambda *given: made.loss(*given) - 1e4  # noqa: E731
    config = MentorConfig(meta_loss="error")
    curriculum = LearnedCurriculum(student, optimizer, made.meta, total_steps=600, loss=below, mentor=config)
    curriculum.weigh(below(student(made.inputs), made.targets), labels=made.targets).backward()
    optimizer.step()
    with pytest.raises(UserError, match="the loss of 30 meta samples is below 0"):
        curriculum.after_step()


def test_a_methods_own_loss_is_in_no_doubt() -> None:
    """An untrained student of 5,000 classes: every exp(−ℓ) is 1 in 5,000, and says what it should."""
    meta_loss = parts_of(
        CurriculumConfig(), MentorConfig(), LocalMentor(MentorLearner(MentorConfig(), 3, 0)), None, None
    )  # type: ignore[arg-type]
    assert isinstance(meta_loss.meta_loss, ExpectedError)
    meta_loss.meta_loss(torch.zeros(4, 5000), torch.arange(4))
    meta_loss.meta_loss.check(Alone(), is_first_update=True)


@pytest.mark.parametrize(
    ("given", "own", "is_error", "in_nats"),
    [(None, False, True, True), (None, True, False, False), ("error", True, True, True), ("loss", True, False, False)],
)
def test_which_meta_loss_a_loss_has(given: str | None, own: bool, is_error: bool, in_nats: bool) -> None:
    config, loss = MentorConfig(meta_loss=given), squared if own else None
    access = LocalMentor(MentorLearner(config, 3, 0))
    parts = parts_of(CurriculumConfig(), config, access, loss, None)  # type: ignore[arg-type]
    assert isinstance(parts.meta_loss, ExpectedError) == is_error
    assert is_error or parts.meta_loss is parts.loss
    assert parts.in_nats == in_nats
    assert isinstance(parts.mixing, MentorMix) == (is_error or not own)
