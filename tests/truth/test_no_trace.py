"""A meta step leaves no trace in the student: it goes on, bit for bit, as it would have without."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from stand_ins import Mean, Spy
from torch import Tensor, nn
from torch.optim import SGD, AdamW, Optimizer
from truth_curriculum import CONFIG, as_batch, changed, make_curriculum, make_learner
from truth_students import CLASSES, STUDENTS, make_student, samples

from ray_mentor.core.methods.weightings import Uniform

OPTIMIZERS: dict[str, Callable[[nn.Module], Optimizer]] = {
    "sgd": lambda student: SGD(student.parameters(), lr=0.1),
    "nesterov": lambda student: SGD(student.parameters(), lr=0.1, momentum=0.9, nesterov=True),
    "adamw": lambda student: AdamW(student.parameters(), lr=0.01),
}


def trace(student: nn.Module, optimizer: Optimizer) -> dict[str, Any]:
    """All that a step may leave behind."""
    return {
        "params": {name: param.detach().clone() for name, param in student.named_parameters()},
        "buffers": {name: buffer.clone() for name, buffer in student.named_buffers()},
        "gradients": {name: copy.copy(param.grad) for name, param in student.named_parameters()},
        "wants gradient": {name: param.requires_grad for name, param in student.named_parameters()},
        "modes": {name: module.training for name, module in student.named_modules()},
        "optimizer": copy.deepcopy(optimizer.state_dict()),
        "random state": torch.get_rng_state(),
        "gradients are on": torch.is_grad_enabled(),
    }


def assert_same(found: Any, expected: Any, where: str = "") -> None:
    if isinstance(expected, dict):
        assert found.keys() == expected.keys(), where
        for key in expected:
            assert_same(found[key], expected[key], f"{where}.{key}")
    elif isinstance(expected, list):
        assert_same(dict(enumerate(found)), dict(enumerate(expected)), where)
    else:
        same = torch.equal(found, expected) if isinstance(expected, Tensor) else found == expected
        assert same, where


def run(
    name: str, optimizer_of: Callable[[nn.Module], Optimizer], interval: int | None, some: int = 0
) -> list[dict[str, Any]]:
    """Four uniform steps; with a meta update every ``interval`` of them, or none at all; influences of ``some``."""
    student = make_student(name)
    optimizer = optimizer_of(student)
    access = None
    if interval:
        access = Spy(make_learner(CONFIG, CLASSES))
    curriculum = make_curriculum(
        student,
        optimizer,
        samples(name, 7, seed=2),
        config=changed(update_interval=interval or 1, influence_samples=some),
        access=access,
        weighting=Uniform(),
    )
    torch.manual_seed(11)
    traces = []
    for step in range(4):
        curriculum.step(as_batch(samples(name, 9, seed=20 + step)))
        traces.append(trace(student, optimizer))
    assert curriculum.meta.done == (-(-4 // interval) if interval else 0)
    return traces


@pytest.mark.long
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("name", STUDENTS)
def test_no_trace(name: str, optimizer: str) -> None:
    plain = run(name, OPTIMIZERS[optimizer], None)
    for interval, some in ((1, 0), (3, 0), (1, 4)):
        assert_same(run(name, OPTIMIZERS[optimizer], interval, some), plain)


def test_batch_norm_counts_each_step_once() -> None:
    for step, after in enumerate(run("conv with batch norm", OPTIMIZERS["sgd"], 1)):
        assert after["buffers"]["1.num_batches_tracked"] == step + 1
        assert after["buffers"]["4.num_batches_tracked"] == step + 1


def test_a_layer_in_evaluation_mode_stays_in_it() -> None:
    def optimizer_of(student: nn.Module) -> Optimizer:
        student[1].eval()
        return SGD(student.parameters(), lr=0.1)

    with_updates, without = (run("conv with batch norm", optimizer_of, interval) for interval in (1, None))
    assert_same(with_updates, without)
    assert with_updates[-1]["buffers"]["1.num_batches_tracked"] == 0
    assert with_updates[-1]["modes"]["1"] is False


def test_the_meta_loss_normalises_over_the_meta_batch_in_training_mode() -> None:
    """Were it in evaluation mode, running statistics of a few steps would decide the meta loss."""
    student = make_student("conv with batch norm")
    meta = samples("conv with batch norm", 7, seed=2)
    optimizer = SGD(student.parameters(), lr=0.1)
    curriculum = make_curriculum(student, optimizer, meta, access=Spy(make_learner(CONFIG, CLASSES)))
    record = curriculum.step(as_batch(samples("conv with batch norm", 9, seed=20)))
    expected = nn.functional.cross_entropy(copy.deepcopy(student).train()(meta[0]), meta[1])
    assert record.meta_loss == pytest.approx(expected.item(), rel=1e-13)


@pytest.mark.parametrize("name", [name for name in STUDENTS if name != "mlp with dropout"])
def test_a_gradient_rule_gets_both_gradients_of_the_student_before_the_step(name: str) -> None:
    student = make_student(name)
    batch, meta = samples(name, 9, seed=20), samples(name, 7, seed=2)
    expected = []
    for inputs, labels in (batch, meta):
        other = copy.deepcopy(student)
        nn.functional.cross_entropy(other(inputs), labels).backward()
        expected.append([param.grad for param in other.parameters() if param.grad is not None])
    optimizer = SGD(student.parameters(), lr=0.1)
    access = Spy(make_learner(CONFIG, CLASSES))
    curriculum = make_curriculum(student, optimizer, meta, access=access, weighting=Uniform(), gradient_rule=Mean())
    curriculum.step(as_batch(batch))
    found = [param.grad for param in student.parameters() if param.grad is not None]
    for gradient, train, trusted in zip(found, *expected, strict=True):
        torch.testing.assert_close(gradient, (train + trusted) / 2, rtol=1e-10, atol=1e-14)
    counts = [buffer for key, buffer in student.named_buffers() if key.endswith("num_batches_tracked")]
    assert all(count == 1 for count in counts)
