"""float16 autocast, at the end of a schedule too: nothing that is small is rounded to 0."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from estimator_students import CLASSES, make_student, samples
from taken_steps import Samples, Trainee, as_batch, direction, influences, relative_error
from torch import Tensor, nn
from torch.optim import SGD, AdamW, Optimizer

from ray_mentor.core.batch import MetaBatch
from ray_mentor.core.exchange import Alone
from ray_mentor.core.influence.estimators import ESTIMATORS, make_estimator
from ray_mentor.core.influence.estimators.jvp import size_of
from ray_mentor.core.influence.meta_gradient import meta_gradient
from ray_mentor.core.losses import ExpectedError, PerSampleLoss, cross_entropy
from ray_mentor.core.student.precision import Precision

B = 64
ROUNDING = 0.02  # of a few layers in float16; more where a ReLU lies at 0

OPTIMIZERS: dict[str, Callable[[Any, float], Optimizer]] = {
    "sgd": lambda params, rate: SGD(params, lr=rate),
    "adamw": lambda params, rate: AdamW(params, lr=rate),
}


class CastsInside(nn.Sequential):
    """A student that is cast where no loop sees it."""

    def forward(self, x: Tensor) -> Tensor:
        with torch.autocast("cpu", torch.float16):
            return super().forward(x).float()


def found(estimator: str, optimizer: str, rate: float, autocast: torch.dtype | None, *, inside: bool = False) -> Tensor:
    student = make_student("mlp, relu, dropout", torch.float32)
    student = CastsInside(student) if inside else student
    for module in student.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
    trainee = Trainee(student, OPTIMIZERS[optimizer](student.parameters(), 1e-3))
    trainee.warm_up([samples("mlp", B, 50 + i, torch.float32) for i in range(4)])
    for group in trainee.optimizer.param_groups:
        group["lr"] = rate
    trainee.autocast = autocast
    made = make_estimator(estimator)
    trainee.step(made, as_batch(samples("mlp", B, 1, torch.float32)))
    return influences(made, trainee, samples("mlp", B, 2, torch.float32))


@pytest.mark.parametrize("rate", [1e-2, 1e-5, 1e-7, 1e-10])
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_influences_at_a_small_learning_rate(estimator: str, optimizer: str, rate: float) -> None:
    halves, truth = (found(estimator, optimizer, rate, autocast) for autocast in (torch.float16, None))
    assert truth.abs().max() > 0
    assert relative_error(halves, truth) <= (0.1 if estimator == "finite_difference" else ROUNDING)


@pytest.mark.parametrize("rate", [1e-2, 1e-10])
def test_influences_of_a_student_that_is_cast_inside(rate: float) -> None:
    halves, truth = found("jvp", "sgd", rate, None, inside=True), found("jvp", "sgd", rate, None)
    assert truth.abs().max() > 0
    assert relative_error(halves, truth) <= ROUNDING


def sure_student(gain: float) -> tuple[nn.Module, Samples]:
    """It has learnt its samples, the more surely the larger the gain."""
    inputs, labels = samples("mlp", 60, 3, torch.float32)
    inputs[torch.arange(60), labels] += 4
    student = make_student("mlp", torch.float32)
    optimizer = torch.optim.Adam(student.parameters(), lr=0.02)
    for _ in range(150):
        optimizer.zero_grad()
        cross_entropy(student(inputs), labels).mean().backward()
        optimizer.step()
    with torch.no_grad():
        student[-1].weight.mul_(gain)
        student[-1].bias.mul_(gain)
    return student, (inputs, labels)


def gradient_of(student: nn.Module, loss: PerSampleLoss, meta: Samples, autocast: torch.dtype | None) -> Tensor:
    batch = MetaBatch(*meta, size=len(meta[1]))
    gradient, _ = meta_gradient(student, loss, batch, Alone(), Precision("cpu", autocast))
    return torch.cat([part.flatten() for part in gradient.values()])


@pytest.mark.parametrize("loss", [cross_entropy, ExpectedError(cross_entropy)], ids=["loss", "error"])
@pytest.mark.parametrize("gain", [0.1, 1.0, 3.0, 4.0])
def test_the_meta_gradient_of_a_student_that_knows_the_meta_set(gain: float, loss: PerSampleLoss) -> None:
    student, meta = sure_student(gain)
    truth = gradient_of(student, loss, meta, None)
    assert relative_error(gradient_of(student, loss, meta, torch.float16), truth) <= ROUNDING
    assert gain < 3 or truth.abs().max() < 1e-4


@pytest.mark.parametrize("size", [1e-4, 1.0, 1e2, 1e3])
def test_the_meta_gradient_of_a_loss_of_any_size(size: float) -> None:
    """Squared errors: where the scaled backward pass overflows, it is taken with a smaller scale."""

    def squared(outputs: Tensor, labels: Tensor) -> Tensor:
        return (size * (outputs[:, 0].float() - labels)).square()

    student, meta = make_student("mlp", torch.float32), samples("mlp", B, 2, torch.float32)
    truth = gradient_of(student, squared, meta, None)
    assert relative_error(gradient_of(student, squared, meta, torch.float16), truth) <= ROUNDING


def test_a_backward_pass_that_overflows_when_scaled() -> None:
    """The slope of the hidden layer is 1e4 times that of the loss: it fits into float16, and 2^10 times it does not."""
    draw = torch.Generator().manual_seed(0)
    student = nn.Sequential(nn.Linear(5, 8), nn.Linear(8, CLASSES))
    with torch.no_grad():
        student[0].weight.copy_(1e-4 * torch.randn(8, 5, generator=draw))
        student[1].weight.copy_(1e4 * torch.randn(CLASSES, 8, generator=draw))
    meta = samples("mlp", 2, 2, torch.float32)
    truth = gradient_of(student, cross_entropy, meta, None)
    assert relative_error(gradient_of(student, cross_entropy, meta, torch.float16), truth) <= ROUNDING


def test_what_is_not_finite_stays_so() -> None:
    student, (inputs, labels) = make_student("mlp", torch.float32), samples("mlp", B, 2, torch.float32)
    inputs[0] = torch.inf
    assert not gradient_of(student, cross_entropy, (inputs, labels), torch.float16).isfinite().all()


@pytest.mark.parametrize("exponent", [-60, -7, 40])
def test_influences_are_linear_in_the_direction_to_the_last_bit(exponent: int) -> None:
    made, trainee = make_estimator("jvp"), Trainee(m := make_student("mlp", torch.float32), SGD(m.parameters(), lr=0.1))
    step = trainee.step(made, as_batch(samples("mlp", B, 1, torch.float32)))
    meta, rows = MetaBatch(*samples("mlp", B, 2, torch.float32), size=B), torch.arange(B)
    along = direction(trainee, (meta.inputs, meta.labels))  # type: ignore[arg-type]
    scaled = {name: 2.0**exponent * part for name, part in along.items()}
    assert torch.equal(made([step], meta, scaled, rows), 2.0**exponent * made([step], meta, along, rows))


@pytest.mark.parametrize(
    ("elements", "size"),
    [([0.0, 0.0], 1), ([3.0, -5.0], 8), ([2.0**-30], 2.0**-29), ([torch.inf], 1), ([torch.nan, 1.0], 1), ([], 1)],
)
def test_the_size_of_a_direction(elements: list[float], size: float) -> None:
    assert size_of({str(i): torch.tensor([element]) for i, element in enumerate(elements)}) == size


@pytest.mark.parametrize("exponent", [-100, -20, 0, 100])
@pytest.mark.parametrize("kind", ["one of many", "all alike"])
def test_the_size_is_near_the_largest_elements(kind: str, exponent: int) -> None:
    """Whose range float16 then holds: n^¼ is 32 for a million params."""
    elements = torch.full((1000, 1000), 1e-6 if kind == "one of many" else 1.0)
    elements[0, 0] = 1.0
    size = size_of({"": 2.0**exponent * elements})
    assert 1 / 40 <= 2.0**exponent / size <= 40
