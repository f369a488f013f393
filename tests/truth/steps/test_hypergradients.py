"""∂M(θ')/∂h of an optimizer's settings equals differences of M over real steps that were taken with others."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
import torch
from test_step_jacobians import CLOSED, Options, name_of, student, taken
from torch import Tensor, nn
from torch.optim import SGD, Adam, AdamW, Optimizer, RMSprop

from ray_mentor.core.batch import Batch
from ray_mentor.core.influence.hypergradients import of_optimizer
from ray_mentor.core.influence.hypergradients.of_loss import ADJUSTMENT, MOST_CLASSES, loss_hypergradients
from ray_mentor.core.influence.hypergradients.of_optimizer import FORMULAS, optimizer_hypergradients
from ray_mentor.core.influence.optimizer_replay import Group, Replay
from ray_mentor.core.influence.step_jacobian import JACOBIANS
from ray_mentor.core.influence.taken_step import TakenStep

BETAS = {"beta1": 0, "beta2": 1}


def meta_loss(params: dict[str, Tensor]) -> Tensor:
    """Anything smooth that couples all params."""
    whole = torch.cat([param.reshape(-1) for _, param in sorted(params.items())])
    places = torch.arange(len(whole), dtype=whole.dtype)
    return torch.sin(whole * (1 + places / 7)).sum() + 0.3 * (whole * torch.cos(places)).sum() ** 2


def meta_gradient(step: TakenStep) -> dict[str, Tensor]:
    params = {name: param.detach().clone().requires_grad_() for name, param in step.student.named_parameters()}
    return dict(zip(params, torch.autograd.grad(meta_loss(params), list(params.values())), strict=True))


def changed(group: Group, setting: str, by: float) -> Group:
    options = dict(group.options)
    if setting == "log_learning_rate":
        options["lr"] = options["lr"] * torch.tensor(by, dtype=torch.float64).exp().item()
    elif setting in BETAS:
        betas = list(options["betas"])
        betas[BETAS[setting]] += by
        options["betas"] = tuple(betas)
    else:
        options[setting] = options[setting] + by
    return dataclasses.replace(group, options=options)


def truth(step: TakenStep, setting: str) -> float:
    """(8(M(h) − M(−h)) − (M(2h) − M(−2h))) / 12h, the error of which is of order h⁴."""
    (optimizer,), (groups,) = step.optimizers, step.before.groups
    live = dict(step.student.named_parameters())

    def loss_at(by: float) -> float:
        moved, _ = Replay(optimizer, live)(
            [changed(group, setting, by) for group in groups], step.before.optimizer, step.before.params, step.applied
        )
        return float(meta_loss(moved))

    h = 4e-6  # 1 − β2 is 1e-3, and the first step of Adam bends where g̃ is as small as ε
    near, far = loss_at(h) - loss_at(-h), loss_at(2 * h) - loss_at(-2 * h)
    return (8 * near - far) / (12 * h)


def settings_of(optimizer: Optimizer) -> set[str]:
    group = optimizer.param_groups[0]
    found = {"log_learning_rate", "weight_decay"}
    if group.get("momentum"):
        found.add("momentum")
    return found | (set(BETAS) if "betas" in group else set())


@pytest.mark.parametrize("warm", [0, 1, 4])
@pytest.mark.parametrize(("kind", "options"), CLOSED, ids=name_of)
def test_it_is_the_difference_of_real_steps(kind: type[Optimizer], options: Options, warm: int) -> None:
    model = student()
    optimizer = kind(model.parameters(), lr=0.02, **{"weight_decay": 0.01, **options})
    step = taken(model, optimizer, warm)
    found = optimizer_hypergradients(step, meta_gradient(step))
    assert set(found) == settings_of(optimizer)
    for setting, slope in found.items():
        expected = truth(step, setting)
        assert float(slope) == pytest.approx(expected, rel=1e-7, abs=1e-9), setting
        first = warm == 0 and setting in ("momentum", "beta1", "beta2")
        assert first or abs(expected) > 1e-7, setting


@pytest.mark.parametrize("kind", [SGD, Adam, AdamW, RMSprop])
def test_groups_change_together(kind: type[Optimizer]) -> None:
    model = student()
    first, *rest = model.parameters()
    groups: list[dict[str, Any]] = [{"params": rest, "lr": 0.003}, {"params": [first], "weight_decay": 0.2}]
    step = taken(model, kind(groups, lr=0.05, weight_decay=0.01), warm=2)
    for setting, slope in optimizer_hypergradients(step, meta_gradient(step)).items():
        assert float(slope) == pytest.approx(truth(step, setting), rel=1e-7), setting


def test_what_had_no_gradient_has_no_part() -> None:
    model = student()
    step = taken(model, AdamW(model.parameters(), lr=0.02, eps=1e-3), warm=2)
    gradient = meta_gradient(step)
    name = next(iter(gradient))
    without = dataclasses.replace(step, applied={key: part for key, part in step.applied.items() if key != name})
    silent = {**gradient, name: torch.zeros_like(gradient[name])}
    expected = optimizer_hypergradients(step, silent)
    found = optimizer_hypergradients(without, gradient)
    assert found.keys() == expected.keys()
    for setting, slope in found.items():
        assert float(slope) == pytest.approx(float(expected[setting]), rel=1e-12)


@pytest.mark.parametrize("kind", [SGD, AdamW])
def test_before_batch_norm_weight_decay_says_what_the_learning_rate_says(kind: type[Optimizer]) -> None:
    """M(cθ) = M(θ) gives ⟨∇M(θ'), θ'⟩ = 0: ⟨∇M, θ⟩ = −⟨∇M, θ' − θ⟩ of params that a norm follows."""
    torch.manual_seed(3)
    model = nn.Sequential(nn.Linear(4, 6, bias=False), nn.BatchNorm1d(6, affine=False)).double()
    step = taken(model, kind(model.parameters(), lr=0.02), warm=3)
    inputs, wanted = torch.randn(16, 4, dtype=torch.float64), torch.randn(16, 6, dtype=torch.float64)
    model[1].eps = 1e-300
    gradient = torch.autograd.grad((model(inputs) - wanted).pow(2).sum(), list(model.parameters()))
    found = optimizer_hypergradients(step, {"0.weight": gradient[0]})
    rate, decay = 0.02, step.optimizers[0].param_groups[0]["weight_decay"]
    factor = 1.0
    assert float(found["weight_decay"]) == pytest.approx(rate * factor * float(found["log_learning_rate"]), rel=1e-9)
    assert (decay > 0) == (kind is AdamW)


def test_all_that_influences_have_a_formula_for_has_one_here() -> None:
    assert FORMULAS.keys() == JACOBIANS.keys()


def with_settings(z: Tensor, q: Tensor, alpha: Tensor, tau: Tensor, a: Tensor) -> Tensor:
    """(1 − α)·CE + α·mean_c CE_c of z·e^(−τ) + a; a loss a sample."""
    log_p = torch.log_softmax(z * torch.exp(-tau) + a, dim=1)
    return -((1 - alpha) * (q * log_p).sum(dim=1) + alpha * log_p.mean(dim=1))


@pytest.mark.parametrize("mixed", [False, True])
def test_settings_of_the_loss_by_double_backward(mixed: bool) -> None:
    """M after one step of SGD, differentiated through the gradient that the step was taken along."""
    torch.manual_seed(4)
    model = nn.Sequential(nn.Linear(4, 6), nn.Tanh(), nn.Linear(6, 3)).double()
    inputs, rate = torch.randn(9, 4, dtype=torch.float64), 0.3
    labels, partners = torch.arange(9) % 3, torch.arange(9).flip(0) % 3
    share = torch.linspace(0.5, 1, 9, dtype=torch.float64) if mixed else None
    weights = torch.rand(9, dtype=torch.float64)
    q = nn.functional.one_hot(labels, 3).double()
    if share is not None:
        q = share[:, None] * q + (1 - share[:, None]) * nn.functional.one_hot(partners, 3)
    params = dict(model.named_parameters())
    alpha, tau = (torch.zeros((), dtype=torch.float64, requires_grad=True) for _ in range(2))
    a = torch.zeros(3, dtype=torch.float64, requires_grad=True)
    z = torch.func.functional_call(model, params, (inputs,))
    gradient = torch.autograd.grad(
        (weights * with_settings(z, q, alpha, tau, a)).sum(), list(params.values()), create_graph=True
    )
    after = {name: param - rate * part for (name, param), part in zip(params.items(), gradient, strict=True)}
    expected = torch.autograd.grad(meta_loss(after), [alpha, tau, a], retain_graph=True)

    at_end = torch.autograd.grad(meta_loss(after), list(after.values()))
    direction = {name: -rate * part for name, part in zip(params, at_end, strict=True)}
    _, tangent = torch.autograd.functional.jvp(
        lambda *here: torch.func.functional_call(model, dict(zip(params, here, strict=True)), (inputs,)),
        tuple(params.values()),
        tuple(direction.values()),
    )
    rows = torch.arange(9)
    batch = Batch(rows, rows, inputs, labels, partner_labels=partners if mixed else None, share=share)
    found = loss_hypergradients(z.detach(), tangent, batch, weights)
    assert float(found["label_smoothing"]) == pytest.approx(float(expected[0]), rel=1e-9)
    assert float(found["log_temperature"]) == pytest.approx(float(expected[1]), rel=1e-9)
    by_class = [float(found[f"{ADJUSTMENT}{label}"]) for label in range(3)]
    assert by_class == pytest.approx(expected[2].tolist(), rel=1e-9)
    assert sum(by_class) == pytest.approx(0, abs=1e-12 * max(map(abs, by_class)))
    assert min(map(abs, by_class)) > 1e-6


def test_classes_are_told_apart_up_to_a_number_of_them() -> None:
    torch.manual_seed(5)
    for classes, by_class in ((MOST_CLASSES, MOST_CLASSES), (MOST_CLASSES + 1, 0)):
        z, way, rows = torch.randn(4, classes), torch.randn(4, classes), torch.arange(4)
        found = loss_hypergradients(z, way, Batch(rows, rows, z, rows), torch.ones(4))
        assert sum(name.startswith(ADJUSTMENT) for name in found) == by_class
        assert {"label_smoothing", "log_temperature"} <= found.keys()


@pytest.mark.parametrize("kind", [SGD, AdamW])
def test_large_params_are_looked_at_piece_by_piece(kind: type[Optimizer], monkeypatch: pytest.MonkeyPatch) -> None:
    model = student()
    step = taken(model, kind(model.parameters(), lr=0.02, weight_decay=0.01), warm=2)
    gradient = meta_gradient(step)
    whole = optimizer_hypergradients(step, gradient)
    monkeypatch.setattr(of_optimizer, "PIECE", 3)
    for setting, slope in optimizer_hypergradients(step, gradient).items():
        assert float(slope) == pytest.approx(float(whole[setting]), rel=1e-12), setting
