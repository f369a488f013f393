"""The first step of a run is looked back on, due or not: what can't work is refused, and nothing else comes of it."""

from __future__ import annotations

import copy
import dataclasses
import io
from collections.abc import Callable
from typing import Any

import pytest
import torch
from own_loop import (
    Loop,
    adam,
    assert_same,
    assert_same_records,
    blobs,
    coupled_student,
    mentor_bytes,
    momentum,
    noisy,
    params,
    per_sample,
    student,
)
from set_mentors import batch, linear, run_of
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset, TensorDataset

from ray_mentor.config import CurriculumConfig, MentorConfig
from ray_mentor.core.curriculum import Curriculum
from ray_mentor.core.influence.estimators import ESTIMATORS
from ray_mentor.core.influence.estimators.jvp import ForwardMode
from ray_mentor.core.influence.updates import MetaUpdates
from ray_mentor.core.step.record import StepRecord
from ray_mentor.errors import UserError

BURN_IN = CurriculumConfig(burn_in=0.4)  # 8 of 20 steps


def settings(**changes: Any) -> MentorConfig:
    return MentorConfig(**{"update_interval": 2, "mentor_learning_rate": 0.01, "meta_batch_size": 16, **changes})


class Spread(nn.Module):
    """Uses an operator that has no forward mode."""

    def __init__(self, features: int = 3) -> None:
        super().__init__()
        self.leave = nn.Linear(features, 3)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.leave(x)
        return out * nn.functional.pdist(out).mean()


# Refused at the first step, in burn-in


def test_a_student_without_forward_mode() -> None:
    loop = Loop(Spread, curriculum=BURN_IN)
    with pytest.raises(
        UserError, match="estimator is 'jvp', but the student uses _pdist_forward, which has no forward"
    ):
        loop.run(1)
    Loop(Spread, curriculum=BURN_IN, mentor=settings(estimator="finite_difference")).run(10)


def test_a_student_without_forward_mode_in_the_trainers_curriculum() -> None:
    curriculum = run_of(linear(("loss",), [-1.0]), Spread(4), burn_in=0.5)
    with pytest.raises(
        UserError, match="estimator is 'jvp', but the student uses _pdist_forward, which has no forward"
    ):
        curriculum.step(batch())


def test_a_student_in_eval_mode() -> None:
    loop = Loop(curriculum=BURN_IN)
    loop.student.eval()
    with pytest.raises(UserError, match="the student was not called in training mode, with gradients, before weigh"):
        loop.weigh(*next(noisy(1)))


def test_sparse_gradients() -> None:
    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.enter, self.leave = nn.Embedding(5, 4, sparse=True), nn.Linear(4, 3)

        def forward(self, x: Tensor) -> Tensor:
            out: Tensor = self.leave(self.enter(x.abs().long() % 5).mean(1))
            return out

    loop = Loop(Model, lambda model: torch.optim.SGD(model.parameters(), 0.1), curriculum=BURN_IN)
    with pytest.raises(UserError, match=r"^the gradient of enter\.weight is sparse"):
        loop.run(1)


def test_a_meta_loss_of_another_shape() -> None:
    loop = Loop(curriculum=BURN_IN, loss=nn.functional.cross_entropy)
    inputs, labels, _ = next(noisy(1))
    loss = loop.curriculum.weigh(per_sample(loop.student(inputs), labels), labels=labels)
    with pytest.raises(ValueError, match=r"the loss returned shape \(\)"):
        loop.finish(loss)


@pytest.mark.parametrize("burn_in", [0.0, 0.4])
@pytest.mark.parametrize("types", [(torch.float64, torch.float32), (torch.float32, torch.float64)])
def test_a_meta_set_of_another_type(types: tuple[torch.dtype, torch.dtype], burn_in: float) -> None:
    own, other = types
    inputs, labels = blobs(30, 1)
    loop = Loop(
        lambda: student().to(own),
        meta_loader=(inputs.to(other), labels),
        curriculum=CurriculumConfig(burn_in=burn_in),
    )
    inputs, labels, ids = next(noisy(1))
    with pytest.raises(
        UserError,
        match=f"^the student can't be called with the meta set's inputs, which are {other}, where those of its batches "
        f"are {own}; give the meta set as {own} \\(RuntimeError: ",
    ):
        loop.step(inputs.to(own), labels, ids)


def test_another_error_of_the_student_is_its_own() -> None:
    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = student()

        def forward(self, x: Tensor) -> Tensor:
            if len(x) == 16:
                raise RuntimeError("sixteen are too many")
            out: Tensor = self.inner(x)
            return out

    with pytest.raises(RuntimeError, match=r"^sixteen are too many$"):
        Loop(Model, curriculum=BURN_IN).run(1)


# Nothing else comes of it


def untried(curriculum: Curriculum) -> None:
    """As if the run had been looked at before."""
    curriculum.guards.state = dataclasses.replace(curriculum.guards.state, rounding=0.0)


class Jittered(Dataset[Any]):
    def __init__(self) -> None:
        self.inputs, self.labels = blobs(30, 1)

    def __len__(self) -> int:
        return 30

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        return self.inputs[index] + torch.rand(()), self.labels[index]


class OnceAPass:
    """A loader whose order follows from how often it was begun, and from nothing else."""

    def __init__(self) -> None:
        self.begun = 0

    def __iter__(self) -> Any:
        self.begun += 1
        inputs, labels = blobs(30, self.begun)
        yield from zip(inputs.split(8), labels.split(8), strict=True)


META: dict[str, Callable[[], Any]] = {
    "tensors": lambda: blobs(30, 1),
    "a loader that shuffles": lambda: DataLoader(TensorDataset(*blobs(30, 1)), batch_size=8, shuffle=True),
    "a loader that draws": lambda: DataLoader(Jittered(), batch_size=8, shuffle=True),
    "a loader with a generator of its own": lambda: DataLoader(
        TensorDataset(*blobs(30, 1)), batch_size=8, shuffle=True, generator=torch.Generator().manual_seed(3)
    ),
    "a loader with an order of its own": OnceAPass,
}


def whole(loop: Loop, records: list[StepRecord]) -> dict[str, Any]:
    state = {**params(loop.student)}
    return {
        "student": state,
        "optimizer": copy.deepcopy(loop.optimizer.state_dict()),
        "mentor": mentor_bytes(loop.curriculum),
        "draws": torch.rand(3),
        "records": records,
    }


@pytest.mark.long
@pytest.mark.parametrize("meta", META)
@pytest.mark.parametrize("make_optimizer", [momentum, adam])
@pytest.mark.parametrize("make_student", [student, coupled_student])
@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"estimator": "finite_difference"},
        {"estimator": "last_layer"},
        {"estimator": "unrolled", "unroll_steps": 2},
        {"influence_samples": 3},
        {"mentor_features": ("loss", "history"), "history_length": 2},
    ],
    ids=lambda changes: " ".join(map(str, changes.values())) or "jvp",
)
def test_a_run_is_bit_for_bit_what_it_is_without(
    changes: dict[str, Any],
    make_student: Callable[[], nn.Module],
    make_optimizer: Callable[[nn.Module], torch.optim.Optimizer],
    meta: str,
) -> None:
    """Student, optimizer, mentor, order of the meta batches, draws: to the end of a run whose updates begin later."""
    found = []
    for is_tried in (True, False):
        torch.manual_seed(1)
        loop = Loop(
            make_student,
            make_optimizer,
            meta_loader=META[meta](),
            curriculum=BURN_IN,
            mentor=settings(**changes),
            n_samples=60,
        )
        if not is_tried:
            untried(loop.curriculum.curriculum)
        assert loop.curriculum.curriculum.is_looked_back_on == is_tried
        found.append(whole(loop, loop.run(14)))
        assert loop.curriculum.curriculum.meta.done == 3
        assert loop.curriculum.guards.skipped_updates == 0
    with_it, without = found
    assert_same(with_it["student"], without["student"])
    assert with_it["mentor"] == without["mentor"]
    assert torch.equal(with_it["draws"], without["draws"])
    assert_same_records(with_it["records"], without["records"])
    assert str(with_it["optimizer"]) == str(without["optimizer"])


def saved(loop: Loop) -> bytes:
    buffer = io.BytesIO()
    torch.save([part.state_dict() for part in (loop.student, loop.optimizer, loop.curriculum)], buffer)
    return buffer.getvalue()


@pytest.mark.long
@pytest.mark.parametrize("meta", ["tensors", "a loader that shuffles", "a loader that draws"])
@pytest.mark.parametrize("stop", [1, 5, 8, 9])
def test_a_run_that_stops_in_burn_in_goes_on_the_same(stop: int, meta: str) -> None:
    torch.manual_seed(1)
    straight = Loop(coupled_student, adam, meta_loader=META[meta](), curriculum=BURN_IN)
    expected = straight.run(14)
    torch.manual_seed(1)
    first = Loop(coupled_student, adam, meta_loader=META[meta](), curriculum=BURN_IN)
    first.run(stop)
    kept, draws = saved(first), torch.get_rng_state()
    second = Loop(coupled_student, adam, meta_loader=META[meta](), curriculum=BURN_IN)
    for part, state in zip(
        (second.student, second.optimizer, second.curriculum),
        torch.load(io.BytesIO(kept), weights_only=True),
        strict=True,
    ):
        part.load_state_dict(state)
    assert second.curriculum.curriculum.is_looked_back_on == (stop == 8), "an update is due, but no second try"
    torch.set_rng_state(draws)
    assert_same_records(second.run(14 - stop, first=stop), expected[stop:])
    assert_same(params(second.student), params(straight.student))
    assert mentor_bytes(second.curriculum) == mentor_bytes(straight.curriculum)


@pytest.mark.parametrize("mixing", [False, True])
def test_the_trainers_curriculum_bit_for_bit(mixing: bool) -> None:
    found = []
    for is_tried in (True, False):
        torch.manual_seed(1)
        mentor = linear(("loss",), [-1.0])
        curriculum = run_of(mentor, nn.Sequential(nn.Linear(4, 8), nn.Dropout(0.3), nn.Linear(8, 3)), burn_in=0.04)
        if not is_tried:
            untried(curriculum)
        torch.manual_seed(2)
        records = [curriculum.step(batch(seed)) for seed in range(7)]
        found.append((records, params(curriculum.student), mentor.state.payload, torch.rand(3)))
        assert curriculum.meta.done == 3
    assert_same_records(found[0][0], found[1][0])
    assert_same(found[0][1], found[1][1])
    assert found[0][2] == found[1][2]
    assert torch.equal(found[0][3], found[1][3])


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_it_leaves_no_trace(estimator: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """In params, buffers, gradients, modes, optimizer, generators, mentor and counts, between its beginning and end."""
    tries: list[bool] = []
    tried = MetaUpdates._try

    def watched(updates: MetaUpdates, *given: Any) -> None:
        before = everything(loop)
        tried(updates, *given)
        after = everything(loop)
        assert before.keys() == after.keys()
        for name, value in before.items():
            same = torch.equal(value, after[name]) if isinstance(value, Tensor) else value == after[name]
            assert same, name
        tries.append(True)

    monkeypatch.setattr(MetaUpdates, "_try", watched)
    loop = Loop(coupled_student, adam, curriculum=BURN_IN, mentor=settings(estimator=estimator))
    loop.run(12)
    assert tries == [True], "once a run"


def everything(loop: Loop) -> dict[str, Any]:
    found: dict[str, Any] = {**params(loop.student)}
    for name, param in loop.student.named_parameters():
        assert param.grad is not None
        found[f"gradient of {name}"] = param.grad.clone()
        found[f"place of the gradient of {name}"] = (id(param.grad), param.grad.data_ptr())
    for name, module in loop.student.named_modules():
        found[f"mode of {name}"] = module.training
    for index, state in loop.optimizer.state_dict()["state"].items():
        found |= {f"optimizer {index} {key}": copy.deepcopy(value) for key, value in state.items()}
    curriculum = loop.curriculum.curriculum
    return {
        **found,
        "draws": torch.get_rng_state(),
        "mentor": mentor_bytes(loop.curriculum),
        "updates": curriculum.meta.done,
        "step": curriculum.step_number,
        "percentile": curriculum.percentile.value,
        "fallbacks": (curriculum.guards.fallbacks, curriculum.guards.inconsistent_updates),
        "meta set": str(loop.curriculum.state_dict()["meta_set"]),
    }


# Once a run


def test_it_is_made_once(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[int] = []
    found = ForwardMode.__call__

    def counted(estimator: ForwardMode, *given: Any) -> Tensor:
        calls.append(len(calls))
        return found(estimator, *given)

    monkeypatch.setattr(ForwardMode, "__call__", counted)
    loop = Loop(curriculum=BURN_IN)
    loop.run(8)
    assert len(calls) == 1
    loop.run(4, first=8)
    assert len(calls) == 3, "and two updates"


def test_a_step_that_a_scaler_skips_is_no_first_step() -> None:
    loop = Loop(curriculum=BURN_IN)
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**10)
    inputs, labels, ids = next(noisy(1))
    scaler.scale(loop.weigh(inputs, labels, ids)).backward()
    next(loop.student.parameters()).grad.fill_(torch.inf)  # type: ignore[union-attr]
    scaler.step(loop.optimizer)
    scaler.update()
    assert loop.curriculum.after_step() is None
    assert loop.curriculum.curriculum.is_looked_back_on
    loop.run(1)
    assert not loop.curriculum.curriculum.is_looked_back_on


def test_methods_that_learn_nothing_have_no_look() -> None:
    loop = Loop(Spread, curriculum=CurriculumConfig(method="self-paced"))
    loop.student.eval()
    loop.run(2)
