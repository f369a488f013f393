"""Every estimator as the curriculum uses it: what is remembered, when it looks, what the mentor is told."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from estimator_students import CLASSES, make_student, samples
from stand_ins import Mean, Spy
from taken_steps import as_batch, cosine, relative_error
from torch import Tensor, nn
from torch.optim import LBFGS, SGD, Adafactor, Adam, NAdam, Optimizer

from ray_mentor.config import CurriculumConfig, MentorConfig
from ray_mentor.core.batch import Batch, MetaBatch
from ray_mentor.core.curriculum import Curriculum
from ray_mentor.core.exchange import Alone
from ray_mentor.core.influence.estimators import ESTIMATORS
from ray_mentor.core.losses import cross_entropy
from ray_mentor.core.mentor.learner import MentorLearner
from ray_mentor.core.methods.mixing import NoMixing
from ray_mentor.core.methods.parts import Parts
from ray_mentor.core.methods.weightings import Learned
from ray_mentor.core.step.gradient_rules import AbstractGradientRule, Identity
from ray_mentor.core.step.record import StepRecord
from ray_mentor.errors import NonFiniteLossError, UserError

B = 9


class Two(Alone):
    """Says that there are two workers."""

    world_size = 2


def curriculum_of(
    student: nn.Module,
    shape_of: str,
    optimizer: Optimizer | None = None,
    rule: AbstractGradientRule | None = None,
    exchange: Alone | None = None,
    **settings: Any,
) -> tuple[Curriculum, Spy]:
    config = MentorConfig(**{"update_interval": 1, **settings})
    access = Spy(MentorLearner(config, CLASSES, seed=0))
    bare = getattr(student, "_orig_mod", student)
    dtype = next(bare.parameters()).dtype
    meta = samples(shape_of, B, 2, dtype)
    parts = Parts(
        loss=cross_entropy,
        meta_loss=cross_entropy,
        weighting=Learned(access),
        mixing=NoMixing(),
        gradient_rule=rule or Identity(),
        mentor=access,
        meta_batch=lambda _: MetaBatch(*meta, size=B),
    )
    made = Curriculum(
        student,
        optimizer or SGD(bare.parameters(), lr=0.1, momentum=0.9),
        parts,
        exchange or Alone(),
        CurriculumConfig(),
        config,
        total_steps=20,
        n_samples=50,
        seed=0,
    )
    return made, access


def batches(name: str, dtype: torch.dtype = torch.float64) -> Iterator[Batch]:
    seed = 10
    while True:
        yield as_batch(samples(name, B, seed, dtype))
        seed += 1


def run(curriculum: Curriculum, name: str, steps: int, dtype: torch.dtype = torch.float64) -> list[StepRecord]:
    torch.manual_seed(5)
    return [curriculum.step(batch) for _, batch in zip(range(steps), batches(name, dtype), strict=False)]


def hooks(student: nn.Module) -> int:
    tables = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks")
    return sum(len(getattr(module, table)) for module in student.modules() for table in tables)


@pytest.mark.parametrize("rule", [Identity(), Mean()], ids=["identity", "mean"])
@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_every_estimator_serves_a_curriculum(estimator: str, rule: AbstractGradientRule) -> None:
    """With a rule that asks for a meta gradient too, which is of all params and not heard."""
    found = []
    for name in (estimator, "unrolled"):
        curriculum, access = curriculum_of(make_student("head only"), "head only", rule=rule, estimator=name)
        records = run(curriculum, "head only", 4)
        found.append(torch.cat([record.influence for record in records]))
        assert [update.update_id for update in access.updates] == [0, 1, 2, 3]
        assert hooks(curriculum.bare) == 0
    assert relative_error(*found) <= 1e-6


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_an_optimizer_without_a_closed_form_serves_a_curriculum(estimator: str) -> None:
    found = []
    for name in (estimator, "unrolled"):
        student = make_student("linear")
        optimizer = NAdam(student.parameters(), lr=0.02, eps=1e-3)
        curriculum, _ = curriculum_of(student, "linear", optimizer, estimator=name)
        found.append(torch.cat([record.influence for record in run(curriculum, "linear", 3)]))
    assert relative_error(*found) <= 1e-6


@pytest.mark.parametrize("optimizer", [Adafactor, LBFGS])
@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_what_an_estimator_cannot_work_with_is_refused_before_the_first_step(
    estimator: str, optimizer: type[Optimizer]
) -> None:
    student = make_student("mlp")
    with pytest.raises(UserError, match=optimizer.__name__):
        curriculum_of(student, "mlp", optimizer(student.parameters()), estimator=estimator)


def test_unrolled_is_refused_with_two_workers_before_the_first_step() -> None:
    with pytest.raises(UserError, match="estimator is 'unrolled', but there are 2 workers"):
        curriculum_of(make_student("mlp"), "mlp", exchange=Two(), estimator="unrolled")


def test_the_optimizers_state_is_copied_only_where_it_is_needed() -> None:
    for estimator, kind, copied in (("jvp", SGD, False), ("unrolled", SGD, True), ("jvp", NAdam, True)):
        student = make_student("mlp")
        options = {"momentum": 0.9} if kind is SGD else {}
        curriculum, _ = curriculum_of(student, "mlp", kind(student.parameters(), **options), estimator=estimator)
        run(curriculum, "mlp", 1)
        before = curriculum.before_forward()
        assert before is not None
        assert all((state is not None) == copied for state in before.optimizer.values())


def test_a_step_that_fails_leaves_no_hooks() -> None:
    curriculum, _ = curriculum_of(make_student("mlp"), "mlp", estimator="last_layer")
    batch = as_batch(samples("mlp", B, 1))
    assert isinstance(batch.inputs, Tensor)
    batch.inputs[0] = torch.nan
    with pytest.raises(NonFiniteLossError):
        curriculum.step(batch)
    assert hooks(curriculum.bare) == 0


@pytest.mark.parametrize("k", [2, 3])
def test_k_steps_are_looked_back_on(k: int) -> None:
    curriculum, access = curriculum_of(
        make_student("mlp"), "mlp", estimator="unrolled", unroll_steps=k, update_interval=4
    )
    records = run(curriculum, "mlp", 10)
    looked = [record.meta_loss is not None for record in records]
    assert looked == [step % 4 == k - 1 for step in range(10)][: len(looked)]
    assert [update.update_id for update in access.updates] == [0, 4, 8][: len(access.updates)]
    assert len(access.updates) == sum(looked)
    assert all(record.influence.isnan().all() for record in records)
    for update in access.updates:
        torch.testing.assert_close(update.features.loss, records[update.update_id].losses)


def test_the_mentor_is_told_the_derivative_through_two_steps() -> None:
    """Against M after two real steps of another student, the first with a little more of one sample."""
    student = make_student("mlp")
    optimizer = SGD(student.parameters(), lr=0.1, momentum=0.9)
    curriculum, access = curriculum_of(
        student, "mlp", optimizer, estimator="unrolled", unroll_steps=2, update_interval=2
    )
    records = run(curriculum, "mlp", 2)
    first, second = (as_batch(samples("mlp", B, seed)) for seed in (10, 11))
    meta, h = samples("mlp", B, 2), 1e-5

    def meta_loss(more: Tensor) -> float:
        other = make_student("mlp")
        steps = SGD(other.parameters(), lr=0.1, momentum=0.9)
        for batch, record, extra in ((first, records[0], more), (second, records[1], torch.zeros(B))):
            weights = record.sample_weights.double() / record.sample_weights.double().sum() + extra
            steps.zero_grad()
            (weights * cross_entropy(other(batch.inputs), batch.labels)).sum().backward()
            steps.step()
        return cross_entropy(other(meta[0]), meta[1]).mean().item()

    each = h * torch.eye(B, dtype=torch.float64)
    truth = torch.tensor([(meta_loss(one) - meta_loss(-one)) / (2 * h) for one in each], dtype=torch.float64)
    (update,) = access.updates
    assert relative_error(update.influence, truth) <= 1e-5
    assert records[1].meta_loss == pytest.approx(meta_loss(torch.zeros(B)), rel=1e-6)


def test_gradients_that_are_cleared_in_place_are_kept() -> None:
    """A loop of one's own may write zeros into the gradients that the next steps look back on."""
    found = []
    for set_to_none in (True, False):
        student = make_student("mlp")
        optimizer = Adam(student.parameters(), lr=0.1, eps=1e-3)
        curriculum, access = curriculum_of(
            student, "mlp", optimizer, estimator="unrolled", unroll_steps=2, update_interval=2
        )
        for _, batch in zip(range(2), batches("mlp"), strict=False):
            before = curriculum.before_forward()
            seen = curriculum.observe(batch)
            weighed = curriculum.weigh(seen, curriculum.score(seen))
            assert before is not None
            before.follow(weighed.loss)
            optimizer.zero_grad(set_to_none=set_to_none)
            weighed.loss.backward()
            optimizer.step()
            curriculum.after_step(weighed, before)
        found.append(access.updates[0].influence)
    assert torch.equal(*found)


def test_a_look_that_was_cut_off_does_not_happen() -> None:
    """As after a checkpoint in the middle of it: the run is set to another step."""
    curriculum, access = curriculum_of(
        make_student("mlp"), "mlp", estimator="unrolled", unroll_steps=3, update_interval=4
    )
    run(curriculum, "mlp", 2)
    curriculum.step_number = 6
    assert not curriculum.meta_is_due
    run(curriculum, "mlp", 5)
    assert [update.update_id for update in access.updates] == [8]


@pytest.mark.parametrize("estimator", ["jvp", "finite_difference", "last_layer"])
def test_compiled_students(estimator: str) -> None:
    """What torch.compile returns, with its graph but without its code generator."""
    found, steps = [], 3
    for compiled in (True, False):
        torch._dynamo.reset()
        student = make_student("head only", torch.float32)
        wrapped: Any = torch.compile(student, backend="eager") if compiled else student
        curriculum, _ = curriculum_of(wrapped, "head only", estimator=estimator)
        for module in student.modules():
            if isinstance(module, nn.Dropout):
                module.p = 0.0
        records = run(curriculum, "head only", steps, torch.float32)
        found.append(torch.cat([record.influence for record in records]))
        assert hooks(student) == 0
    assert cosine(*found) >= 0.9999


@pytest.mark.parametrize(
    ("settings", "text"),
    [
        ({"unroll_steps": 0}, "unroll_steps is 0, but it must be at least 1"),
        (
            {"unroll_steps": 2},
            "unroll_steps is 2, but estimator jvp looks one step ahead; give --estimator unrolled",
        ),
        (
            {"unroll_steps": 3, "update_interval": 2, "estimator": "unrolled"},
            "unroll_steps is 3, but it must be at most update_interval, 2; raise --update-interval",
        ),
        (
            {"estimator": "jpv"},
            "unknown estimator 'jpv'; valid: jvp, finite_difference, last_layer, unrolled",
        ),
    ],
)
def test_settings(settings: dict[str, Any], text: str) -> None:
    with pytest.raises(UserError) as raised:
        MentorConfig(**settings)
    assert str(raised.value) == text
