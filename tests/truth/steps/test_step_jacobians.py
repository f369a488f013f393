"""D of every optimizer equals double backward through PyTorch's own ``differentiable=True`` step."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.optim import (
    ASGD,
    LBFGS,
    SGD,
    Adadelta,
    Adafactor,
    Adagrad,
    Adam,
    Adamax,
    AdamW,
    Muon,
    NAdam,
    Optimizer,
    RAdam,
    RMSprop,
    Rprop,
    SparseAdam,
)

from ray_mentor.core.batch import Batch
from ray_mentor.core.influence.step_jacobian import JACOBIANS, check_optimizer, diagonals
from ray_mentor.core.influence.taken_step import TakenStep, dense_gradient_of, remember
from ray_mentor.core.losses import cross_entropy
from ray_mentor.core.step.student_step import gradient_of
from ray_mentor.errors import UserError

Options = dict[str, Any]
VALID = "valid: SGD, Adam, AdamW, Adagrad, RMSprop, and any other whose step works element by element"

CLOSED: list[tuple[type[Optimizer], Options]] = [
    (SGD, {}),
    (SGD, {"weight_decay": 0.03, "maximize": True}),
    (SGD, {"momentum": 0.9}),
    (SGD, {"momentum": 0.8, "dampening": 0.4, "weight_decay": 0.03}),
    (SGD, {"momentum": 0.9, "nesterov": True}),
    (Adam, {"eps": 1e-3}),
    (Adam, {"eps": 1e-3, "weight_decay": 0.05, "maximize": True}),
    (Adam, {"eps": 1e-3, "amsgrad": True}),
    (AdamW, {"eps": 1e-3, "weight_decay": 0.1}),
    (Adagrad, {"eps": 1e-3}),
    (Adagrad, {"eps": 1e-3, "lr_decay": 0.2, "weight_decay": 0.05}),
    (Adagrad, {"eps": 1e-3, "initial_accumulator_value": 0.3, "maximize": True}),
    (RMSprop, {"eps": 1e-3}),
    (RMSprop, {"eps": 1e-3, "alpha": 0.7, "momentum": 0.9}),
    (RMSprop, {"eps": 1e-3, "centered": True}),
    (RMSprop, {"eps": 1e-3, "centered": True, "momentum": 0.5, "weight_decay": 0.05, "maximize": True}),
]
MEASURED: list[tuple[type[Optimizer], Options]] = [
    (NAdam, {"eps": 1e-3, "weight_decay": 0.1, "decoupled_weight_decay": True}),
    (RAdam, {"eps": 1e-3}),
    (Adamax, {"eps": 1e-3, "weight_decay": 0.02}),
    (Adadelta, {"eps": 1e-3, "weight_decay": 0.02}),
    (ASGD, {"weight_decay": 0.02}),
]


def name_of(case: object) -> str | None:
    return case.__name__ if isinstance(case, type) else str(case) if isinstance(case, dict) else None


class Lion(Optimizer):
    """θ' = θ − η·(sign(β1·m + (1 − β1)g) + λθ) (Chen et al. 2023)."""

    def __init__(self, params: Any, lr: float = 0.01, weight_decay: float = 0.0) -> None:
        super().__init__(params, {"lr": lr, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        for group in self.param_groups:
            for param in group["params"]:
                if param.grad is None:
                    continue
                state = self.state[param]
                mean = state.setdefault("mean", torch.zeros_like(param))
                update = (0.9 * mean + 0.1 * param.grad).sign() + group["weight_decay"] * param
                param.sub_(update, alpha=group["lr"])
                mean.mul_(0.99).add_(param.grad, alpha=0.01)


class SoftLion(Lion):
    """As Lion with tanh in place of the sign: element by element, and smooth. Counts its steps in its group."""

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        for group in self.param_groups:
            group["count"] = group.get("count", 0) + 1
            for param in group["params"]:
                if param.grad is None:
                    continue
                mean = self.state[param].setdefault("mean", torch.zeros_like(param))
                param.sub_(torch.tanh(mean + param.grad / group["count"]), alpha=group["lr"])
                mean.mul_(0.9).add_(param.grad)


class Lars(Lion):
    """η scaled by ‖θ‖/‖g‖ of each layer (You et al. 2017)."""

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        for group in self.param_groups:
            for param in group["params"]:
                if param.grad is not None:
                    param.sub_(param.grad * param.norm() / param.grad.norm(), alpha=group["lr"])


class Travelled(Lion):
    """η grows with how far all params have come along their gradients, ⟨g, θ₀ − θ⟩ (as Prodigy's, Mishchenko 2023)."""

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        for group in self.param_groups:
            far = torch.zeros((), dtype=torch.float64)
            for param in group["params"]:
                start = self.state[param].setdefault("start", param.clone())
                far += (param.grad * (start - param)).sum().double()
            for param in group["params"]:
                param.sub_(param.grad * (1 + far.abs()).to(param), alpha=group["lr"])


class Rewriting(Lion):
    """Scales the gradients where they lie (as schedule-free AdamW does)."""

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        for group in self.param_groups:
            for param in group["params"]:
                param.grad.mul_(0.5)
                param.sub_(param.grad, alpha=group["lr"])


class Noisy(Lion):
    """Adds noise of its own."""

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        self.steps = getattr(self, "steps", 0) + 1
        for group in self.param_groups:
            for param in group["params"]:
                param.sub_(param.grad, alpha=group["lr"] / self.steps)


class SignSGD(Lion):
    """θ' = θ − η·sign(g)."""

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        for group in self.param_groups:
            for param in group["params"]:
                param.sub_(param.grad.sign(), alpha=group["lr"])


class Soft(Optimizer):
    """Along tanh of the gradient, or in some groups along its sign."""

    def __init__(self, params: Any) -> None:
        super().__init__(params, {"lr": 0.1, "hard": False})

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        for group in self.param_groups:
            for param in group["params"]:
                param.sub_(param.grad.sign() if group["hard"] else param.grad.tanh(), alpha=group["lr"])


class Wrapping(Optimizer):
    """Steps an optimizer of its own over the same params, every second time."""

    def __init__(self, params: Any) -> None:
        params = list(params)
        super().__init__(params, {"lr": 0.1})
        self.inner = SGD(params, lr=0.1)

    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        self.inner.step()


def student(seed: int = 0, dtype: torch.dtype = torch.float64) -> nn.Module:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, 3)).to(dtype)


def taken(model: nn.Module, optimizer: Optimizer, warm: int, unused: bool = False) -> TakenStep:
    """The last of ``warm`` + 1 steps, along gradients that are drawn; with ``unused`` one of them is 0 throughout."""
    draw = torch.Generator().manual_seed(5)
    for _ in range(warm + 1):
        before = remember(model, (optimizer,), whole_optimizer=True)
        for param in model.parameters():
            param.grad = torch.randn(param.shape, generator=draw, dtype=torch.float64).to(param) * 0.3
            if unused:
                param.grad[..., 0] = 0
        optimizer.step()
    none = torch.zeros(0)
    batch = Batch(none, none, none, none.long())
    return TakenStep(model, (optimizer,), cross_entropy, cross_entropy, batch, none, before, gradient_of(model))


def truth(step: TakenStep) -> dict[str, Tensor]:
    """dθ'/dg by PyTorch alone: a new optimizer of the same type with differentiable=True, one param at a time."""
    found = {}
    (optimizer,) = step.optimizers
    live = dict(step.student.named_parameters())
    for group in optimizer.param_groups:
        for name in [name for name, param in live.items() if any(param is other for other in group["params"])]:
            options = {key: value for key, value in group.items() if key != "params"}
            options = {**options, "foreach": False, "differentiable": True}
            options = {key: value for key, value in options.items() if key not in ("fused", "capturable")}
            options = {key: value for key, value in options.items() if not (key == "decoupled_weight_decay" and
                       not isinstance(optimizer, NAdam))}  # fmt: skip
            gradient = step.applied[name].double().clone().requires_grad_()
            param = step.before.params[name].double().clone().requires_grad_()
            moved = param.clone()
            again = type(optimizer)([moved], **options)
            state = copy.deepcopy(step.before.optimizer[name]) or dict(again.state[moved])
            if isinstance(optimizer, SGD) and group["momentum"] and not state:
                # PyTorch detaches its first buffer: one of τ·g̃/μ becomes g̃
                effective = (-gradient if group["maximize"] else gradient) + group["weight_decay"] * param
                state = {"momentum_buffer": group["dampening"] / group["momentum"] * effective}
            if isinstance(optimizer, Adam | RMSprop | NAdam | RAdam | Adamax | Adadelta) and not state:
                state = fresh(again, param)
            again.state[moved] = {
                key: value.double() if isinstance(value, Tensor) else value for key, value in state.items()
            }
            moved.grad = gradient.clone()
            again.step()
            (found[name],) = torch.autograd.grad(moved.sum(), gradient)
    return found


def fresh(optimizer: Optimizer, param: Tensor) -> dict[str, Tensor]:
    """The state of a param that was never stepped, with the count of steps in float64."""
    zero, group = torch.zeros_like(param).detach(), optimizer.param_groups[0]
    count = torch.zeros((), dtype=torch.float64)
    if isinstance(optimizer, RMSprop):
        extra = {"momentum_buffer": zero.clone()} if group["momentum"] else {}
        extra |= {"grad_avg": zero.clone()} if group["centered"] else {}
        return {"step": count, "square_avg": zero.clone(), **extra}
    if isinstance(optimizer, Adadelta):
        return {"step": count, "square_avg": zero.clone(), "acc_delta": zero.clone()}
    if isinstance(optimizer, Adamax):
        return {"step": count, "exp_avg": zero.clone(), "exp_inf": zero.clone()}
    extra = {"max_exp_avg_sq": zero.clone()} if group.get("amsgrad") else {}
    extra |= {"mu_product": torch.ones((), dtype=torch.float64)} if isinstance(optimizer, NAdam) else {}
    return {"step": count, "exp_avg": zero.clone(), "exp_avg_sq": zero.clone(), **extra}


def error(found: dict[str, Tensor], expected: dict[str, Tensor]) -> float:
    """The largest ‖found − expected‖/‖expected‖ over the params."""
    assert found.keys() == expected.keys()
    return max(float((found[name].double() - expected[name]).norm() / expected[name].norm()) for name in expected)


def all_diagonals(step: TakenStep) -> dict[str, Tensor]:
    params = dict(step.student.named_parameters())
    found = diagonals(step, list(params))
    return {
        name: torch.full_like(params[name], slope) if isinstance(slope, float) else slope
        for name, slope in found.items()
    }


@pytest.mark.parametrize("warm", [0, 1, 4])
@pytest.mark.parametrize(("kind", "options"), CLOSED, ids=name_of)
def test_closed_forms(kind: type[Optimizer], options: Options, warm: int) -> None:
    model = student()
    step = taken(model, kind(model.parameters(), lr=0.02, **options), warm)
    assert error(all_diagonals(step), truth(step)) <= 1e-10


@pytest.mark.parametrize("warm", [0, 1, 4, 7])
@pytest.mark.parametrize(("kind", "options"), MEASURED, ids=name_of)
def test_measured(kind: type[Optimizer], options: Options, warm: int) -> None:
    model = student()
    step = taken(model, kind(model.parameters(), lr=0.02, **options), warm)
    assert error(all_diagonals(step), truth(step)) <= 1e-6


@pytest.mark.parametrize("warm", [0, 4])
@pytest.mark.parametrize(("kind", "options"), CLOSED, ids=name_of)
def test_a_subclass_is_measured_and_agrees_with_the_closed_form(
    kind: type[Optimizer], options: Options, warm: int
) -> None:
    own = type("Own", (kind,), {})
    model, other = student(), student()
    measured = all_diagonals(taken(model, own(model.parameters(), lr=0.02, **options), warm))
    assert own not in JACOBIANS
    assert error(measured, all_diagonals(taken(other, kind(other.parameters(), lr=0.02, **options), warm))) <= 1e-6


@pytest.mark.parametrize("kind", [SGD, Adam, AdamW, Adagrad, RMSprop, NAdam])
def test_param_groups_keep_their_settings(kind: type[Optimizer]) -> None:
    model = student()
    first, *rest = model.parameters()
    groups = [{"params": rest, "lr": 0.003}, {"params": [first], "weight_decay": 0.2}]
    step = taken(model, kind(groups, lr=0.05), warm=2)
    assert error(all_diagonals(step), truth(step)) <= 1e-6


@pytest.mark.parametrize("setting", ["foreach", "fused"])
@pytest.mark.parametrize("kind", [SGD, Adam, AdamW, Adagrad, RMSprop, NAdam])
def test_other_implementations_of_the_same_step(kind: type[Optimizer], setting: str) -> None:
    if setting == "fused" and kind in (RMSprop, NAdam):
        pytest.skip(f"{kind.__name__} has no fused implementation")
    model = student()
    step = taken(model, kind(model.parameters(), lr=0.02, **{setting: True}), warm=3)
    assert error(all_diagonals(step), truth(step)) <= 1e-6


@pytest.mark.parametrize("kind", [Adam, AdamW, Adagrad, RMSprop, NAdam, Adamax])
@pytest.mark.parametrize("warm", [0, 3])
def test_elements_that_never_had_a_gradient_have_no_slope(kind: type[Optimizer], warm: int) -> None:
    model = student()
    step = taken(model, kind(model.parameters(), lr=0.02), warm, unused=True)
    for slope in all_diagonals(step).values():
        assert torch.isfinite(slope).all()
        assert (slope[..., 0] == 0).all()
        assert (slope[..., 1:] != 0).all()


@pytest.mark.parametrize("kind", [Adam, Adagrad, RMSprop])
def test_a_first_step_in_float32_is_not_its_rounding(kind: type[Optimizer]) -> None:
    single, double = student(dtype=torch.float32), student()
    double.load_state_dict(single.state_dict())
    found = all_diagonals(taken(single, kind(single.parameters(), weight_decay=0.1), warm=0))
    expected = all_diagonals(taken(double, kind(double.parameters(), weight_decay=0.1), warm=0))
    assert error(found, expected) < 1e-4


@pytest.mark.parametrize("kind", [Adam, RMSprop])
def test_state_that_a_skipped_step_left_behind_counts_as_none(kind: type[Optimizer]) -> None:
    """A gradient scaler may skip the first step of a fused optimizer, which has made its state by then."""
    found = []
    for skipped in (True, False):
        model = student(dtype=torch.float32)
        optimizer = kind(model.parameters())
        if skipped:
            for param in model.parameters():
                param.grad = torch.zeros_like(param)
            kept = copy.deepcopy(model.state_dict())
            optimizer.step()
            model.load_state_dict(kept)
            for state in optimizer.state.values():
                state["step"] *= 0
        found.append(all_diagonals(taken(model, optimizer, warm=0)))
    assert error(*found) < 1e-6


def test_the_settings_are_those_before_the_step() -> None:
    """A schedule may have moved on when the step is looked back on."""
    model = student()
    optimizer = SGD(model.parameters(), lr=0.1)
    step = taken(model, optimizer, warm=0)
    optimizer.param_groups[0]["lr"] = 5.0
    assert all((slope == -0.1).all() for slope in all_diagonals(step).values())


@pytest.mark.parametrize("warm", [0, 3])
def test_an_optimizer_of_ones_own_is_measured(warm: int) -> None:
    """Its count lives in its group, and is replayed from before the step."""
    model = student()
    optimizer = SoftLion(model.parameters(), lr=0.02)
    step = taken(model, optimizer, warm)
    expected = {}
    for name, gradient in step.applied.items():
        mean = (step.before.optimizer[name] or {}).get("mean", torch.zeros_like(gradient))
        expected[name] = -0.02 / (warm + 1) * (1 - torch.tanh(mean + gradient / (warm + 1)) ** 2)
    assert error(all_diagonals(step), expected) <= 1e-8


def test_measuring_leaves_no_trace_and_draws_nothing() -> None:
    model = student()
    optimizer = NAdam(model.parameters(), lr=0.02)
    schedule = torch.optim.lr_scheduler.StepLR(optimizer, 1)  # puts a `step` of its own onto the optimizer
    calls: list[int] = []
    optimizer.register_step_pre_hook(lambda *_: calls.append(1))
    step = taken(model, optimizer, warm=1)
    schedule.step()
    calls.clear()
    before = copy.deepcopy((model.state_dict(), optimizer.state_dict(), gradient_of(model)))
    state = torch.get_rng_state()
    all_diagonals(step)
    check_optimizer(optimizer)
    after = (model.state_dict(), optimizer.state_dict(), gradient_of(model))
    for one, other in zip(flat(before), flat(after), strict=True):
        assert torch.equal(one, other) if isinstance(one, Tensor) else one == other
    assert torch.equal(torch.get_rng_state(), state)
    assert calls == []


def flat(value: Any) -> list[Any]:
    if isinstance(value, dict):
        return [leaf for item in value.values() for leaf in flat(item)]
    return [leaf for item in value for leaf in flat(item)] if isinstance(value, list | tuple) else [value]


def test_an_optimizer_inside_another_does_not_step_the_student() -> None:
    model = student()
    for param in model.parameters():
        param.grad = torch.ones_like(param)
    before = copy.deepcopy(model.state_dict())
    check_optimizer(Wrapping(model.parameters()))
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


@pytest.mark.parametrize("make", [Adam, SGD, NAdam, SoftLion, Adadelta])
def test_what_works_is_not_refused(make: Callable[..., Optimizer]) -> None:
    check_optimizer(make(student().parameters(), lr=0.1))


def matrices(model: nn.Module) -> list[Tensor]:
    return [param for param in model.parameters() if param.ndim == 2]


@pytest.mark.parametrize("make", [Lars, Adafactor, lambda params: Muon([p for p in params if p.ndim == 2])])
def test_a_step_that_mixes_elements_is_refused(make: Callable[..., Optimizer]) -> None:
    optimizer = make(student().parameters())
    with pytest.raises(UserError) as raised:
        check_optimizer(optimizer)
    assert str(raised.value) == (
        f"optimizer is {type(optimizer).__name__}, but its step mixes elements: a param moves along the gradients of "
        f"others; train what it holds with another; {VALID}"
    )


@pytest.mark.parametrize("rate", [0.01, 0.0], ids=["", "before a schedule has begun"])
@pytest.mark.parametrize("warm", [0, 3])
@pytest.mark.parametrize("kind", [Lion, Rprop, SignSGD])
def test_a_step_that_goes_by_signs_is_refused(kind: type[Optimizer], warm: int, rate: float) -> None:
    model = student()
    optimizer = kind(model.parameters(), lr=0.01)
    if warm:
        taken(model, optimizer, warm)
    optimizer.param_groups[0]["lr"] = rate
    with pytest.raises(UserError) as raised:
        check_optimizer(optimizer)
    assert str(raised.value) == (
        f"optimizer is {kind.__name__}, but its step has no derivative in the gradient, as it goes by signs alone: no "
        "sample weight has an influence, and the mentor would never learn; train what it holds with another; "
        f"{VALID}"
    )


def test_one_group_that_goes_by_signs_is_enough() -> None:
    first, *rest = student().parameters()
    check_optimizer(Soft([first, *rest]))
    with pytest.raises(UserError, match="optimizer is Soft, but its step has no derivative"):
        check_optimizer(Soft([{"params": rest}, {"params": [first], "hard": True}]))


@pytest.mark.parametrize("warm", [0, 2])
@pytest.mark.parametrize("rate", [0.0, 1e-12, 1.0])
@pytest.mark.parametrize(("kind", "options"), [*MEASURED, (Adadelta, {}), (NAdam, {"eps": 1e-30})], ids=name_of)
def test_a_step_with_a_derivative_is_not_refused(
    kind: type[Optimizer], options: Options, rate: float, warm: int
) -> None:
    model = student(dtype=torch.float32)
    optimizer = kind(model.parameters(), lr=0.01, **options)
    if warm:
        taken(model, optimizer, warm)
    optimizer.param_groups[0]["lr"] = rate
    check_optimizer(optimizer)


@pytest.mark.parametrize("kind", [Adam, AdamW, Adagrad, RMSprop, NAdam])
def test_complex_params_are_refused_but_for_sgd(kind: type[Optimizer]) -> None:
    params = [nn.Parameter(torch.ones(2, dtype=torch.complex128)), nn.Parameter(torch.ones(2))]
    check_optimizer(SGD(params, lr=0.1, momentum=0.9))
    with pytest.raises(UserError) as raised:
        check_optimizer(kind(params))
    assert str(raised.value) == (
        f"optimizer is {kind.__name__}, and 1 of its params is complex, which influences can be measured through with "
        "SGD alone; give SGD, or hold each of them as two real params"
    )


def test_mixing_is_found_in_a_real_step_too() -> None:
    model = student()
    with pytest.raises(UserError, match="optimizer is Lars, but its step mixes elements"):
        all_diagonals(taken(model, Lars(model.parameters()), warm=1))


def test_a_step_that_needs_a_closure_is_refused() -> None:
    with pytest.raises(UserError) as raised:
        check_optimizer(LBFGS(student().parameters()))
    assert str(raised.value) == f"optimizer is LBFGS, but its step needs a closure; {VALID}"


def test_an_optimizer_of_sparse_gradients_is_refused() -> None:
    with pytest.raises(UserError) as raised:
        check_optimizer(SparseAdam(list(student().parameters())))
    assert str(raised.value) == (
        "optimizer is SparseAdam, but its step cannot be taken on copies of its params (RuntimeError: SparseAdam does "
        f"not support dense gradients, please consider Adam instead); {VALID}"
    )


def test_a_step_that_depends_on_more_than_its_state_is_refused() -> None:
    model = student()
    step = taken(model, Noisy(model.parameters(), lr=0.1), warm=1)
    with pytest.raises(UserError) as raised:
        all_diagonals(step)
    assert str(raised.value) == (
        "optimizer is Noisy, but its step, taken again, moves 0.weight elsewhere: it depends on more than gradient, "
        f"params, state and settings; {VALID}"
    )


def test_a_sparse_gradient_is_refused() -> None:
    embedding = nn.Embedding(4, 2, sparse=True)
    embedding(torch.tensor([1, 2])).sum().backward()
    with pytest.raises(UserError) as raised:
        dense_gradient_of(embedding)
    assert str(raised.value) == (
        "the gradient of weight is sparse, but influences are measured along dense ones; give its embedding "
        "sparse=False"
    )


def test_a_step_that_mixes_elements_once_params_have_moved_is_refused_at_the_start() -> None:
    model = student()
    with pytest.raises(UserError) as raised:
        check_optimizer(Travelled(model.parameters()))
    assert str(raised.value) == (
        "optimizer is Travelled, but its step mixes elements: a param moves along the gradients of others; train what "
        f"it holds with another; {VALID}"
    )


def test_a_step_that_writes_over_its_gradients_is_refused_at_the_start() -> None:
    model = student()
    with pytest.raises(UserError) as raised:
        check_optimizer(Rewriting(model.parameters()))
    assert str(raised.value) == (
        "optimizer is Rewriting, but its step writes over the gradients that it is given, from which influences are "
        f"measured; {VALID}"
    )
