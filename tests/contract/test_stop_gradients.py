"""Stop-gradients and surrogate gradients: influences are those of real steps, or refused."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import pytest
import torch
from real_steps import copied, found_influences, real_influences
from stop_gradients import STOPS, CheckpointedLayer, Student, gate_without_gradient, make_stop, stop_samples
from taken_steps import Trainee, relative_error
from torch import Tensor
from torch.optim import SGD, Adam, Optimizer

from ray_mentor.core.batch import MetaBatch
from ray_mentor.core.influence.estimators import ESTIMATORS, make_estimator
from ray_mentor.errors import UserError

EXACT = 1e-6  # of the truth's own differences
B = 9

OPTIMIZERS: dict[str, Callable[[Any], Optimizer]] = {
    "nesterov": lambda params: SGD(params, lr=0.1, momentum=0.9, nesterov=True),
    "adam": lambda params: Adam(params, lr=0.01, eps=1e-3),
}


def trainee_of(name: str, optimizer: str) -> Trainee:
    student = make_stop(name)
    trainee = Trainee(student, OPTIMIZERS[optimizer](student.parameters()), loss=STOPS[name].loss)
    trainee.warm_up([stop_samples(B, 50), stop_samples(B, 51)])
    return trainee


@functools.cache
def truth_of(name: str, optimizer: str) -> Tensor:
    return real_influences(lambda: trainee_of(name, optimizer), stop_samples(B, 1), stop_samples(7, 2))


def found(estimator: str, name: str, optimizer: str = "nesterov") -> Tensor:
    return found_influences(estimator, lambda: trainee_of(name, optimizer), stop_samples(B, 1), stop_samples(7, 2))


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("name", [name for name, stop in STOPS.items() if stop.jvp])
def test_jvp_is_the_derivative_of_real_steps(name: str, optimizer: str) -> None:
    assert relative_error(found("jvp", name, optimizer), truth_of(name, optimizer)) <= EXACT


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("name", [name for name, stop in STOPS.items() if stop.unrolled])
def test_unrolled_is_the_derivative_of_real_steps(name: str, optimizer: str) -> None:
    assert relative_error(found("unrolled", name, optimizer), truth_of(name, optimizer)) <= EXACT


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("name", [name for name, stop in STOPS.items() if name != "reversal by a hook"])
def test_finite_differences_look_through_stops(name: str, optimizer: str) -> None:
    """As documented: they see values, so they are right only where the gradient is the derivative of values."""
    error = relative_error(found("finite_difference", name, optimizer), truth_of(name, optimizer))
    assert error <= 1e-3 if STOPS[name].values else error > 1e-3


@pytest.mark.parametrize("head_only", [False, True])
@pytest.mark.parametrize("name", [name for name in STOPS if name.startswith("loss")])
def test_last_layer_knows_the_stops_of_a_loss(name: str, head_only: bool) -> None:
    def make() -> Trainee:
        trainee = trainee_of(name, "nesterov")
        trainee.student.enter.requires_grad_(not head_only)
        trainee.student.scale = 1.0  # it is for students that return what their last layer does
        return trainee

    batch, meta = stop_samples(B, 1), stop_samples(7, 2)
    error = relative_error(found_influences("last_layer", make, batch, meta), real_influences(make, batch, meta))
    assert error <= EXACT if head_only else error < 1


@pytest.mark.long
@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf")  # Dynamo's own
@pytest.mark.parametrize("backend", ["eager", "aot_eager"])
def test_a_compiled_part(backend: str) -> None:
    def make() -> Trainee:
        trainee = trainee_of("gate, set_grad_enabled", "nesterov")
        trainee.student.change = torch.compile(gate_without_gradient, backend=backend)
        return trainee

    torch._dynamo.reset()
    error = relative_error(
        found_influences("jvp", make, stop_samples(B, 1), stop_samples(7, 2)),
        truth_of("gate, set_grad_enabled", "nesterov"),
    )
    assert error <= EXACT


# Refusals


@pytest.mark.parametrize(("name", "function"), [("sign", "Sign"), ("reversal", "Reversal")])
def test_a_function_of_ones_own_without_forward_mode(name: str, function: str) -> None:
    with pytest.raises(UserError) as raised:
        found("jvp", name)
    assert str(raised.value) == (
        f"estimator is 'jvp', but the student uses {function}, a torch.autograd.Function without jvp; give it one, or "
        "another estimator: --estimator unrolled (not finite_difference, "
        "which takes no notice of a backward of one's own)"
    )


@pytest.mark.long
@pytest.mark.parametrize("estimator", ["jvp", "finite_difference"])
def test_a_hook_on_a_gradient(estimator: str) -> None:
    with pytest.raises(UserError) as raised:
        found(estimator, "reversal by a hook")
    assert str(raised.value) == (
        f"estimator is {estimator!r}, but the student registers a hook on a tensor's gradient, which is seen in a "
        "backward pass alone; give --estimator unrolled"
    )


@pytest.mark.parametrize("name", ["checkpointed", "checkpointed layer"])
def test_unrolled_refuses_activations_that_are_computed_again(name: str) -> None:
    """They would be computed from the params of the student as it is by then."""
    with pytest.raises(UserError) as raised:
        found("unrolled", name)
    assert str(raised.value) == (
        "estimator is 'unrolled', but the student checkpoints activations, or has other hooks on what it saves for "
        "the backward pass; switch that off, or give another estimator: --estimator jvp"
    )


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_reentrant_checkpoints(estimator: str) -> None:
    def make() -> Trainee:
        torch.manual_seed(0)
        student = CheckpointedLayer(use_reentrant=True).double()
        return Trainee(student, SGD(student.parameters(), lr=0.1))

    if estimator == "last_layer":  # asks for the gradient of what comes after it
        found_influences(estimator, make, stop_samples(B, 1), stop_samples(7, 2))
        return
    with pytest.raises(UserError) as raised:
        found_influences(estimator, make, stop_samples(B, 1), stop_samples(7, 2))
    assert str(raised.value) == (
        "the student checkpoints activations with use_reentrant=True, through which no gradient can be asked for but "
        "by backward(); give torch.utils.checkpoint use_reentrant=False"
    )


def test_another_error_of_the_student_stays_as_it_is() -> None:
    """Not every RuntimeError is about a hook or a checkpoint."""

    class Fails(Student):
        broken = False

        def between(self, hidden: Tensor) -> Tensor:
            return hidden @ hidden if self.broken else hidden

    def make() -> Trainee:
        torch.manual_seed(0)
        student = Fails().double()
        return Trainee(student, SGD(student.parameters(), lr=0.1))

    for estimator in ("jvp", "finite_difference", "unrolled"):
        made, trainee = make_estimator(estimator), make()
        trainee.step(made, copied(stop_samples(B, 1)))
        gradient = {name: torch.ones_like(param) for name, param in trainee.student.named_parameters()}
        trainee.student.broken = True
        meta = MetaBatch(*stop_samples(B, 2), size=B)
        with pytest.raises(RuntimeError, match="mat1 and mat2"):
            made(trainee.steps, meta, gradient, torch.arange(B))
