"""What every influence estimator keeps: the truth as far as it promises it, and no trace."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from estimator_students import CLASSES, HEADS, STUDENTS, make_student, samples
from real_steps import real_influences
from taken_steps import Samples, Trainee, as_batch, cosine, found_by, influences, relative_error
from torch import Tensor, nn
from torch.optim import SGD, Adagrad, Adam, AdamW, NAdam, Optimizer, RMSprop

from ray_mentor.core.batch import Arguments, Batch
from ray_mentor.core.influence.estimators import ESTIMATORS, Unrolled, make_estimator
from ray_mentor.core.losses import PerSampleLoss, cross_entropy
from ray_mentor.errors import UserError

EXACT = 1e-10
B = 9

OPTIMIZERS: dict[str, Callable[[Any], Optimizer]] = {
    "sgd": lambda params: SGD(params, lr=0.1, weight_decay=0.02),
    "nesterov": lambda params: SGD(params, lr=0.1, momentum=0.9, nesterov=True),
    "dampened, maximize": lambda params: SGD(params, lr=0.05, momentum=0.9, dampening=0.4, maximize=True),
    "adam": lambda params: Adam(params, lr=0.01, eps=1e-4, weight_decay=0.02),
    "adamw, amsgrad": lambda params: AdamW(params, lr=0.01, eps=1e-4, amsgrad=True),
    "adagrad": lambda params: Adagrad(params, lr=0.05, eps=1e-4, lr_decay=0.1),
    "rmsprop": lambda params: RMSprop(params, lr=0.01, eps=1e-4, centered=True, momentum=0.5),
}


@pytest.fixture(params=["cpu", "cuda"])
def device(request: pytest.FixtureRequest) -> str:
    if request.param == "cuda" and not torch.cuda.is_available():
        pytest.skip("no CUDA device here")
    return str(request.param)


def trainee_of(
    student: str,
    optimizer: str = "nesterov",
    warm: int = 2,
    dtype: torch.dtype = torch.float64,
    device: str = "cpu",
    n: int = B,
    **settings: Any,
) -> Trainee:
    model = make_student(student, dtype, device)
    trainee = Trainee(model, OPTIMIZERS[optimizer](model.parameters()), **settings)
    trainee.warm_up([samples(student, n, 50 + i, dtype, device) for i in range(warm)])
    return trainee


def in_one_step(
    student: str, *names: str, dtype: torch.dtype = torch.float64, device: str = "cpu", n: int = B, **settings: Any
) -> list[Tensor]:
    """What the estimators of these names find in the same step."""
    found = found_by(
        {name: make_estimator(name) for name in names},
        lambda: trainee_of(student, dtype=dtype, device=device, n=n, **settings),
        as_batch(samples(student, n, 1, dtype, device)),
        samples(student, 7, 2, dtype, device),
    )
    return [found[name] for name in names]


# Truth


@pytest.mark.parametrize("warm", [0, 3], ids=["first step", "warm"])
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("student", STUDENTS)
def test_jvp_equals_unrolled(student: str, optimizer: str, warm: int) -> None:
    found, truth = in_one_step(student, "jvp", "unrolled", optimizer=optimizer, warm=warm)
    assert relative_error(found, truth) <= EXACT


@pytest.mark.parametrize("warm", [0, 3], ids=["first step", "warm"])
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("student", HEADS)
def test_last_layer_equals_unrolled_where_the_head_alone_is_trained(student: str, optimizer: str, warm: int) -> None:
    found, truth = in_one_step(student, "last_layer", "unrolled", optimizer=optimizer, warm=warm)
    assert relative_error(found, truth) <= EXACT


@pytest.mark.parametrize("optimizer", ["nesterov", "adam"])
@pytest.mark.parametrize("student", [name for name in STUDENTS if name not in HEADS])
def test_last_layer_goes_along_with_the_influence_of_deep_students(student: str, optimizer: str) -> None:
    found, truth = in_one_step(student, "last_layer", "unrolled", optimizer=optimizer, n=32)
    correlation = float(torch.corrcoef(torch.stack([found, truth]))[0, 1])
    print(f"last_layer on {student} with {optimizer}: correlation {correlation:.2f}")
    assert correlation > 0, f"the correlation with the influence is {correlation:.2f}"


@pytest.mark.parametrize("optimizer", ["sgd", "nesterov", "adam", "rmsprop"])
@pytest.mark.parametrize("student", STUDENTS)
def test_finite_difference_is_within_a_percent_in_float32(student: str, optimizer: str, device: str) -> None:
    where = {"dtype": torch.float32, "device": device, "n": 32}
    found, exact = in_one_step(student, "finite_difference", "jvp", optimizer=optimizer, **where)
    assert relative_error(found, exact) <= 1e-2
    assert cosine(found, exact) >= 0.9999


@pytest.mark.parametrize("optimizer", ["nesterov", "adam"])
@pytest.mark.parametrize("student", STUDENTS)
def test_finite_difference_in_float64(student: str, optimizer: str) -> None:
    found, truth = in_one_step(student, "finite_difference", "unrolled", optimizer=optimizer)
    assert relative_error(found, truth) <= 1e-6


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_all_agree_on_a_linear_student(estimator: str, device: str) -> None:
    found, truth = in_one_step("linear", estimator, "unrolled", device=device)
    assert relative_error(found, truth) <= 1e-6


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_an_optimizer_without_a_closed_form(estimator: str) -> None:
    found, truth = (
        found_by(
            {name: make_estimator(name)},
            lambda: Trainee(model := make_student("linear"), NAdam(model.parameters(), lr=0.01, eps=1e-3)),
            as_batch(samples("linear", B, 1)),
            samples("linear", 7, 2),
        )[name]
        for name in (estimator, "unrolled")
    )
    assert relative_error(found, truth) <= 1e-6


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_a_sample_of_the_meta_batch_that_counts_twice_is_there_twice(estimator: str) -> None:
    """M of three samples that count 2, 1 and 0 is that of the first one twice and the second one."""
    inputs, labels = samples("linear", 3, 2)
    twice = torch.tensor([0, 0, 1])

    def found(meta: Samples, weights: Tensor | None) -> Tensor:
        trainee = trainee_of("linear")
        one = make_estimator(estimator)
        for step in range(one.look_ahead):
            trainee.step(one, as_batch(samples("linear", B, 1 + step)))
        return influences(one, trainee, meta, weights=weights)

    weighed = found((inputs, labels), torch.tensor([2.0, 1.0, 0.0], dtype=torch.float64))
    assert relative_error(weighed, found((inputs[twice], labels[twice]), None)) <= 1e-9


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_the_sign_says_who_helps(estimator: str) -> None:
    """More weight on a sample of the meta batch lowers the meta loss, and on the same with a wrong label raises it."""
    inputs, labels = samples("linear", 1, 3)
    model = make_student("linear")
    trainee = Trainee(model, SGD(model.parameters(), lr=0.1))
    made = make_estimator(estimator)
    wrong = (labels + 1) % CLASSES
    trainee.step(made, as_batch((inputs.repeat(2, 1), torch.cat([labels, wrong]))))
    helps, hurts = influences(made, trainee, (inputs, labels)).tolist()
    assert helps < 0 < hurts


@pytest.mark.parametrize("estimator", ["jvp", "finite_difference", "unrolled"])
def test_the_derivative_is_that_of_real_steps(estimator: str) -> None:
    """(M after a step with ŵ_i + h − M after one with ŵ_i − h)/2h."""
    trainee = trainee_of("mlp", "nesterov")
    batch, meta, h = samples("mlp", B, 1), samples("mlp", 7, 2), 1e-5
    weights = torch.linspace(0.5, 1.5, B, dtype=torch.float64) / B

    def meta_loss(more: Tensor) -> float:
        again = copy.deepcopy(trainee)
        again.optimizer.zero_grad()
        ((weights + more) * again.losses(as_batch(batch))).sum().backward()
        again.optimizer.step()
        return again.losses(as_batch(meta)).mean().item()

    each = h * torch.eye(B, dtype=torch.float64)
    truth = torch.tensor([(meta_loss(one) - meta_loss(-one)) / (2 * h) for one in each], dtype=torch.float64)
    made = make_estimator(estimator)
    trainee.step(made, as_batch(batch))
    assert relative_error(influences(made, trainee, meta), truth) <= 1e-5


# Shapes, types, choices


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_shape_type_and_device(estimator: str, dtype: torch.dtype, device: str) -> None:
    made = make_estimator(estimator)
    trainee = trainee_of("mlp", dtype=dtype, device=device)
    trainee.step(made, as_batch(samples("mlp", B, 1, dtype, device)))
    found = influences(made, trainee, samples("mlp", 7, 2, dtype, device))
    assert found.shape == (B,)
    assert found.dtype in (dtype, torch.float64)
    assert found.device == trainee.device
    assert not found.requires_grad
    assert torch.isfinite(found).all()


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_some_samples_are_as_in_the_whole_batch(estimator: str) -> None:
    made = make_estimator(estimator)
    trainee = trainee_of("mlp")
    trainee.step(made, as_batch(samples("mlp", B, 1)))
    meta, rows = samples("mlp", 7, 2), torch.tensor([1, 4, 8])
    whole, some = (influences(made, trainee, meta, chosen) for chosen in (None, rows))
    assert relative_error(some, whole[rows]) <= 1e-6


@pytest.mark.parametrize("estimator", ["last_layer", "unrolled"])
def test_some_samples_under_batch_norm_and_dropout(estimator: str) -> None:
    """These two do not pass the chosen samples through the student alone."""
    for student in ("residual, batch norm", "mlp, relu, dropout"):
        made = make_estimator(estimator)
        trainee = trainee_of(student)
        trainee.step(made, as_batch(samples(student, B, 1)))
        meta, rows = samples(student, 7, 2), torch.tensor([1, 4, 8])
        whole, some = (influences(made, trainee, meta, chosen) for chosen in (None, rows))
        torch.testing.assert_close(some, whole[rows], rtol=1e-12, atol=0)


# No trace


def trace(trainee: Trainee) -> dict[str, Any]:
    student, optimizer = trainee.student, trainee.optimizer
    return {
        "params": {name: (id(param), param.detach().clone()) for name, param in student.named_parameters()},
        "buffers": {name: (id(buffer), buffer.clone()) for name, buffer in student.named_buffers()},
        "gradients": {
            name: (id(param.grad), None if param.grad is None else param.grad.clone())
            for name, param in student.named_parameters()
        },
        "wants gradient": [param.requires_grad for param in student.parameters()],
        "modes": [module.training for module in student.modules()],
        "optimizer": copy.deepcopy(optimizer.state_dict()),
        "optimizer state": [id(value) for state in optimizer.state.values() for value in state.values()],
        "random state": torch.get_rng_state(),
        "gradients are on": torch.is_grad_enabled(),
        "autocast is on": torch.is_autocast_enabled("cpu"),
    }


def assert_same(found: Any, expected: Any, where: str = "") -> None:
    if isinstance(expected, dict):
        assert found.keys() == expected.keys(), where
        for key in expected:
            assert_same(found[key], expected[key], f"{where}.{key}")
    elif isinstance(expected, list | tuple):
        assert_same(dict(enumerate(found)), dict(enumerate(expected)), where)
    else:
        assert torch.equal(found, expected) if isinstance(expected, Tensor) else found == expected, where


@pytest.mark.parametrize("optimizer", ["nesterov", "adamw, amsgrad"])
@pytest.mark.parametrize("student", STUDENTS)
@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_no_trace(estimator: str, student: str, optimizer: str) -> None:
    made = make_estimator(estimator)
    trainee = trainee_of(student, optimizer)
    trainee.step(made, as_batch(samples(student, B, 1)))
    before = trace(trainee)
    influences(made, trainee, samples(student, 7, 2))
    assert_same(trace(trainee), before)
    assert hooks(trainee.student) == 0


def hooks(student: nn.Module) -> int:
    tables = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
    return sum(len(getattr(module, table)) for module in student.modules() for table in tables)


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_layers_in_evaluation_mode_count_as_such(estimator: str) -> None:
    found = []
    for other in (estimator, "unrolled"):
        made = make_estimator(other)
        trainee = trainee_of("head only", warm=0)
        for module in trainee.student.modules():
            if isinstance(module, nn.Dropout):
                module.eval()
        trainee.step(made, as_batch(samples("head only", B, 1)))
        found.append(influences(made, trainee, samples("head only", 7, 2)))
    assert relative_error(*found) <= 1e-6


def test_hearing_ends_when_nobody_holds_it() -> None:
    """A step that failed leaves no hooks behind."""
    student = make_student("mlp")
    heard = make_estimator("last_layer").listen(student)
    assert hooks(student) == 2
    del heard
    assert hooks(student) == 0


# What a step is made of


@pytest.mark.parametrize("optimizer", ["nesterov", "adam"])
@pytest.mark.parametrize("student", ["linear", "head only", "mlp, relu, dropout"])
@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_param_groups_with_settings_of_their_own(estimator: str, student: str, optimizer: str) -> None:
    def make() -> Trainee:
        model = make_student(student)
        *first, last = [param for param in model.parameters() if param.requires_grad]
        made = OPTIMIZERS[optimizer]([{"params": [last], "lr": 0.003, "weight_decay": 0.3}, {"params": first}])
        trainee = Trainee(model, made)
        trainee.warm_up([samples(student, B, 50)])
        return trainee

    names = ["last_layer", "jvp"] if estimator == "unrolled" else [estimator, "unrolled"]
    found = found_by(
        {name: make_estimator(name) for name in names}, make, as_batch(samples(student, B, 1)), samples(student, 7, 2)
    )
    one, other = found.values()
    if "last_layer" in names and student not in HEADS:
        assert cosine(one, other) > 0
    else:
        assert relative_error(one, other) <= 1e-6


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_mixed_batches(estimator: str) -> None:
    draw = torch.Generator().manual_seed(0)
    partners = torch.randint(CLASSES, (B,), generator=draw)
    share = torch.rand(B, generator=draw, dtype=torch.float64)
    found = found_by(
        {name: make_estimator(name) for name in (estimator, "unrolled")},
        lambda: trainee_of("head only"),
        as_batch(samples("head only", B, 1), share, partners),
        samples("head only", 7, 2),
    )  # fmt: skip
    assert relative_error(found[estimator], found["unrolled"]) <= 1e-6
    (plain,) = in_one_step("head only", estimator)
    assert relative_error(found[estimator], plain) > 0.1


def focal(logits: Tensor, labels: Tensor) -> Tensor:
    losses = cross_entropy(logits, labels)
    return (1 - torch.exp(-losses)) ** 2 * losses


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_a_loss_of_ones_own(estimator: str) -> None:
    loss: PerSampleLoss = focal
    found, truth = in_one_step("head only", estimator, "unrolled", loss=loss)
    assert relative_error(found, truth) <= 1e-6


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_clipping_counts_as_a_constant(estimator: str) -> None:
    """D is taken at the clipped gradient: with Adam that is not the influence of the step without clipping."""
    clipped, truth = in_one_step("head only", estimator, "unrolled", optimizer="adam", clip=0.05)
    (unclipped,) = in_one_step("head only", estimator, optimizer="adam")
    assert relative_error(clipped, truth) <= 1e-6
    assert relative_error(clipped, unclipped) > 0.01


@pytest.mark.parametrize("optimizer", ["nesterov", "adam"])
@pytest.mark.parametrize("student", ["head only", "mlp, relu, dropout", "residual, batch norm"])
@pytest.mark.parametrize("estimator", [name for name in ESTIMATORS if name != "unrolled"])
def test_the_last_micro_batch_has_the_influence_of_the_whole_step(estimator: str, student: str, optimizer: str) -> None:
    first, last, meta = samples(student, 6, 30), samples(student, B, 1), samples(student, 7, 2)
    found = {}
    for name in (estimator, "unrolled"):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(7)
            made, trainee = make_estimator(name), trainee_of(student, optimizer)
            trainee.step(made, as_batch(first), as_batch(last))
            found[name] = influences(made, trainee, meta)
    if estimator == "last_layer" and student not in HEADS:
        assert cosine(found[estimator], found["unrolled"]) > 0
    else:
        assert relative_error(found[estimator], found["unrolled"]) <= 1e-6


def test_unrolled_with_micro_batches_is_the_derivative_of_real_steps() -> None:
    trainee = trainee_of("mlp", "adam")
    first, last, meta, h = samples("mlp", 6, 30), samples("mlp", B, 1), samples("mlp", 7, 2), 1e-5

    def meta_loss(more: Tensor) -> float:
        again = copy.deepcopy(trainee)
        again.optimizer.zero_grad()
        for batch, extra in ((first, torch.zeros(6)), (last, more)):
            weights = torch.linspace(0.5, 1.5, len(batch[1]), dtype=torch.float64)
            ((weights / weights.sum() + extra) * again.losses(as_batch(batch))).sum().backward()
        again.optimizer.step()
        return again.losses(as_batch(meta)).mean().item()

    each = h * torch.eye(B, dtype=torch.float64)
    truth = torch.tensor([(meta_loss(one) - meta_loss(-one)) / (2 * h) for one in each], dtype=torch.float64)
    made = Unrolled()
    trainee.step(made, as_batch(first), as_batch(last))
    assert relative_error(influences(made, trainee, meta), truth) <= 1e-5


class Precise(nn.Module):
    """Notes the type that its input comes in."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[torch.dtype] = []

    def forward(self, x: Tensor) -> Tensor:
        self.seen.append(x.dtype)
        return x


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_autocast_is_replayed(estimator: str) -> None:
    """In bf16 on the CPU, against the float32 influence: cosine above 0.98, as rounding to 8 bits allows."""
    found = {}
    for autocast in (torch.bfloat16, None):
        made = make_estimator(estimator)
        torch.manual_seed(0)
        note = Precise()
        body = nn.Sequential(nn.Linear(5, 32), nn.Tanh()).requires_grad_(estimator != "last_layer")
        student = nn.Sequential(*body, note, nn.Linear(32, CLASSES))
        trainee = Trainee(student, SGD([p for p in student.parameters() if p.requires_grad], lr=0.1), autocast=autocast)
        trainee.step(made, as_batch(samples("mlp", 64, 1, torch.float32)))
        note.seen.clear()
        found[autocast] = influences(made, trainee, samples("mlp", 32, 2, torch.float32))
        assert set(note.seen) == {autocast or torch.float32}
    assert found[torch.bfloat16].dtype != torch.bfloat16 or estimator != "last_layer"
    assert cosine(found[torch.bfloat16], found[None]) > 0.98
    assert not torch.equal(found[torch.bfloat16], found[None])


# unrolled over more than one step


@pytest.mark.parametrize("clip", [None, 100.0])
@pytest.mark.parametrize("optimizer", ["sgd", "nesterov", "dampened, maximize", "adam", "adamw, amsgrad", "rmsprop"])
@pytest.mark.parametrize("k", [1, 2, 3])
def test_unrolled_is_the_derivative_through_k_real_steps(k: int, optimizer: str, clip: float | None) -> None:
    trainee = trainee_of("mlp", optimizer, clip=clip)
    batches, meta, h = [samples("mlp", B, seed) for seed in range(1, k + 1)], samples("mlp", 7, 20), 1e-5

    def meta_loss(more: Tensor) -> float:
        again = copy.deepcopy(trainee)
        for index, batch in enumerate(batches):
            weights = torch.linspace(0.5, 1.5, B, dtype=torch.float64)
            weights = weights / weights.sum() + (more if index == 0 else 0)
            again.optimizer.zero_grad()
            (weights * again.losses(as_batch(batch))).sum().backward()
            again.optimizer.step()
        return again.losses(as_batch(meta)).mean().item()

    each = h * torch.eye(B, dtype=torch.float64)
    truth = torch.tensor([(meta_loss(one) - meta_loss(-one)) / (2 * h) for one in each], dtype=torch.float64)
    made = Unrolled(k)
    for batch in batches:
        trainee.step(made, as_batch(batch))
    assert relative_error(influences(made, trainee, meta), truth) <= 1e-5


def test_a_schedule_between_the_steps_is_replayed() -> None:
    found = []
    for rate in (0.1, 0.4):
        made, trainee = Unrolled(2), trainee_of("mlp", "sgd")
        trainee.step(made, as_batch(samples("mlp", B, 1)))
        for group in trainee.optimizer.param_groups:
            group["lr"] = rate
        trainee.step(made, as_batch(samples("mlp", B, 2)))
        trainee.optimizer.param_groups[0]["lr"] = 100.0
        found.append(influences(made, trainee, samples("mlp", 7, 3)))
    assert 0.01 < relative_error(*found) < 10


@pytest.mark.parametrize("student", ["mlp, relu, dropout", "residual, batch norm", "transformer"])
@pytest.mark.parametrize("k", [2, 3])
def test_unrolled_replays_masks_buffers_and_attention(k: int, student: str) -> None:
    """Steps along which nothing moves add nothing: with a rate of 0 after the first, k steps are one."""
    found = []
    for steps in (1, k):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(3)
            made, trainee = Unrolled(steps), trainee_of(student, "sgd")
            for index in range(steps):
                trainee.optimizer.param_groups[0]["lr"] = 0.1 if index == 0 else 0.0
                trainee.step(made, as_batch(samples(student, B, 1 + index)))
            torch.manual_seed(4)
            found.append(influences(made, trainee, samples(student, 7, 9)))
    torch.testing.assert_close(found[1], found[0], rtol=1e-9, atol=1e-15)


@pytest.mark.parametrize("kind", [Adam, AdamW, Adagrad, RMSprop])
@pytest.mark.parametrize("k", [1, 2])
def test_a_step_without_derivative_in_some_elements(kind: type[Optimizer], k: int) -> None:
    """An input that is always 0: its weights have g = 0 and v̂ = 0, and D counts as 0 there."""
    made = Unrolled(k)
    student = make_student("mlp")
    trainee = Trainee(student, kind(student.parameters(), lr=0.01, eps=1e-3))
    found = []
    for silent in (True, False):
        inputs, labels = samples("mlp", B, 1)
        inputs[:, 0] = 0.0 if silent else inputs[:, 0]
        for _ in range(k):
            trainee.step(made, as_batch((inputs, labels)))
        found.append(influences(made, trainee, samples("mlp", 7, 2)))
        exact = make_estimator("jvp")
        if k == 1:
            assert relative_error(found[-1], influences(exact, trainee, samples("mlp", 7, 2))) <= EXACT
    assert all(torch.isfinite(values).all() and values.abs().sum() > 0 for values in found)


# Refusals


class Spread(nn.Module):
    """Uses an operator that has no forward mode."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(5, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        hidden = self.layer(x)
        return hidden * nn.functional.pdist(hidden).mean()


def test_a_student_without_forward_mode() -> None:
    def make() -> Trainee:
        torch.manual_seed(0)
        model = Spread().double()
        return Trainee(model, SGD(model.parameters(), lr=0.1))

    trainee, batch, meta = make(), samples("mlp", B, 1), samples("mlp", 7, 2)
    trainee.step(make_estimator("jvp"), as_batch(batch))
    state = torch.get_rng_state()
    with pytest.raises(UserError) as raised:
        influences(make_estimator("jvp"), trainee, meta)
    assert str(raised.value) == (
        "estimator is 'jvp', but the student uses _pdist_forward, which has no forward mode; give another: "
        "--estimator finite_difference; or, where gradients are "
        "stopped (detach, no_grad) in student or loss, unrolled"
    )
    assert torch.equal(torch.get_rng_state(), state)
    truth = real_influences(make, batch, meta)
    assert relative_error(influences(make_estimator("finite_difference"), trainee, meta), truth) <= 1e-6


def test_a_student_that_changes_what_its_head_returns() -> None:
    student = nn.Sequential(nn.Linear(5, CLASSES), nn.Tanh())
    heard = make_estimator("last_layer").listen(student)
    with pytest.raises(UserError) as raised:
        student(torch.ones(2, 5))
    assert str(raised.value) == (
        "estimator is 'last_layer', but the student does not return what its last nn.Linear returns; leave what "
        "follows it to the loss, or give another estimator: --estimator jvp"
    )
    assert heard is not None


def test_a_student_without_a_linear_layer() -> None:
    student = nn.Sequential(nn.Conv2d(1, 3, 2), nn.Flatten())
    with pytest.raises(UserError) as raised:
        make_estimator("last_layer").check(student, [SGD(student.parameters())], 1)
    assert str(raised.value) == (
        "estimator is 'last_layer', but the student has no nn.Linear; give another estimator: --estimator jvp"
    )


def test_a_head_that_is_not_trained() -> None:
    student = nn.Sequential(nn.Linear(5, 4), nn.Linear(4, 3).requires_grad_(False))
    with pytest.raises(UserError) as raised:
        make_estimator("last_layer").check(student, [SGD(student.parameters())], 1)
    assert str(raised.value) == (
        "estimator is 'last_layer', but the optimizer holds no param of the student's last nn.Linear; train it, or "
        "give another estimator: --estimator jvp"
    )


def test_last_layer_asks_for_the_head_alone() -> None:
    assert set(make_estimator("last_layer").names(make_student("mlp")) or ()) == {"2.weight", "2.bias"}
    assert make_estimator("unrolled").names(make_student("mlp")) == ()
    assert make_estimator("jvp").names(make_student("mlp")) is None


@pytest.mark.parametrize("lost", ["nothing heard", "another batch"])
def test_last_layer_repeats_the_forward_pass_where_it_was_not_heard(lost: str) -> None:
    found = []
    for hears in (True, False):
        torch.manual_seed(7)
        made, trainee = make_estimator("last_layer"), trainee_of("mlp, relu, dropout")
        step = trainee.step(made, as_batch(samples("mlp", B, 1)))
        assert step.before.heard is not None
        if not hears and lost == "nothing heard":
            step.before.heard.inputs = step.before.heard.outputs = None
        elif not hears:
            step.before.heard.inputs, step.before.heard.outputs = torch.ones(3, 8), torch.ones(3, 3)
        found.append(influences(made, trainee, samples("mlp", 7, 2)))
        assert hooks(trainee.student) == 0
    torch.testing.assert_close(*found, rtol=1e-12, atol=1e-15)


def test_a_look_without_gradients_is_not_heard() -> None:
    """An evaluation between the training forward pass and the step."""
    student = make_student("linear")
    heard = make_estimator("last_layer").listen(student)
    assert heard is not None
    inputs, _ = samples("linear", B, 1)
    student(inputs)
    with torch.no_grad():
        student(inputs[:4])
    assert heard.inputs is not None
    assert torch.equal(heard.inputs, inputs)


def test_outputs_with_more_dimensions() -> None:
    """One class per token, and the mean over tokens as a sample's loss."""

    def token_loss(logits: Tensor, labels: Tensor) -> Tensor:
        return nn.functional.cross_entropy(logits.transpose(1, 2), labels, reduction="none").mean(dim=1)

    draw = torch.Generator().manual_seed(0)
    inputs = torch.randn(B, 4, 5, generator=draw, dtype=torch.float64)
    labels = torch.randint(CLASSES, (B, 4), generator=draw)
    batch = Batch(torch.arange(B), torch.arange(B), Arguments((), {"input": inputs}), labels)
    found = found_by(
        {name: make_estimator(name) for name in ESTIMATORS},
        lambda: Trainee(model := make_student("linear"), SGD(model.parameters(), lr=0.1), loss=token_loss),
        batch,
        (inputs[:4] + 1, labels[:4]),
    )
    for name in ESTIMATORS:
        assert relative_error(found[name], found["unrolled"]) <= 1e-6


def test_unrolled_works_in_one_process_only() -> None:
    student = make_student("mlp")
    with pytest.raises(UserError) as raised:
        Unrolled().check(student, [SGD(student.parameters())], 2)
    assert str(raised.value) == (
        "estimator is 'unrolled', but there are 2 workers, and it works in one process only; give --workers 0, or "
        "another estimator: --estimator jvp"
    )


class Plain(Optimizer):
    """Knows no differentiable=True."""

    def __init__(self, params: Any) -> None:
        super().__init__(params, {"lr": 0.1})

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        for param in self.param_groups[0]["params"]:
            param.sub_(param.grad, alpha=0.1)


class Deaf(SGD):
    """Takes differentiable=True, and steps without gradients."""

    step = Plain.step  # type: ignore[assignment]


def test_unrolled_needs_a_differentiable_step() -> None:
    student = make_student("linear")
    with pytest.raises(UserError) as raised:
        Unrolled().check(student, [Plain(student.parameters())], 1)
    assert str(raised.value) == (
        "estimator is 'unrolled', but Plain knows no differentiable=True; take one of PyTorch's that does (SGD, Adam, "
        "AdamW, NAdam, RMSprop, ...), or another estimator: --estimator jvp"
    )
    trainee = Trainee(student, Deaf(student.parameters()))
    trainee.step(Unrolled(), as_batch(samples("linear", B, 1)))
    with pytest.raises(UserError) as raised:
        influences(Unrolled(), trainee, samples("linear", 7, 2))
    assert str(raised.value) == (
        "estimator is 'unrolled', but no gradient flows through the step of Deaf; give another estimator: "
        "--estimator jvp"
    )


def test_an_unknown_name_lists_the_others() -> None:
    with pytest.raises(UserError) as raised:
        make_estimator("jpv")
    assert str(raised.value) == (
        "unknown estimator 'jpv'; valid: jvp, finite_difference, last_layer, unrolled"
    )  # fmt: skip
