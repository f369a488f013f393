"""Gradient rules: by hand, what they leave of a disagreement, and that they go on from a state."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from tiny_run import batch_of, curriculum_of, student_of
from torch import Tensor

from ray_mentor import CurriculumConfig, LearnedCurriculum, UserError
from ray_mentor.core.batch import MetaBatch
from ray_mentor.core.methods.weightings import LearningToReweight
from ray_mentor.core.state.curriculum import capture_curriculum, restore_curriculum
from ray_mentor.core.step.gradient_rules import GRADIENT_RULES, AbstractGradientRule, GradientVaccine, PCGrad


def gradients(seed: int) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    draw = torch.Generator().manual_seed(seed)

    def one() -> dict[str, Tensor]:
        return {
            "weight": torch.randn(4, 3, generator=draw, dtype=torch.float64),
            "bias": torch.randn(4, generator=draw, dtype=torch.float64),
        }

    return one(), one()


def flat(gradient: dict[str, Tensor]) -> Tensor:
    return torch.cat([gradient["weight"].flatten(), gradient["bias"]])


def cosine(one: dict[str, Tensor], other: dict[str, Tensor]) -> float:
    return float(torch.nn.functional.cosine_similarity(flat(one), flat(other), dim=0))


def test_pcgrad_by_hand() -> None:
    against = PCGrad()({"w": torch.tensor([3.0, 1.0])}, {"w": torch.tensor([-2.0, 0.0])})
    assert against["w"].tolist() == [0, 1]
    along = PCGrad()({"w": torch.tensor([3.0, 1.0])}, {"w": torch.tensor([2.0, 0.0])})
    assert along["w"].tolist() == [3, 1]


@pytest.mark.parametrize("seed", range(6))
def test_vaccine_turns_until_they_agree_as_they_use_to(seed: int) -> None:
    train, meta = gradients(seed)
    rule = GradientVaccine()
    rule.state = 0.6
    before = cosine(train, meta)
    assert before < 0.6
    applied = rule(train, meta)
    assert cosine(applied, meta) == pytest.approx(0.6, abs=1e-12)
    turned = flat(applied) - flat(train)
    assert float(torch.linalg.norm(turned - (turned @ flat(meta)) / (flat(meta) @ flat(meta)) * flat(meta))) < 1e-12
    assert rule.state == pytest.approx(0.99 * 0.6 + 0.01 * before, abs=1e-12)


@pytest.mark.parametrize("seed", range(6))
def test_vaccine_with_target_0_is_pcgrad(seed: int) -> None:
    train, meta = gradients(seed)
    vaccine, surgery = GradientVaccine(beta=0.0), PCGrad()
    for name, gradient in surgery(train, meta).items():
        assert torch.equal(vaccine(train, meta)[name], gradient)
        conflict = min(float(flat(train) @ flat(meta)), 0.0)
        by_hand = train[name] - conflict / float(flat(meta) @ flat(meta)) * meta[name]
        torch.testing.assert_close(gradient, by_hand, rtol=1e-12, atol=1e-13)


def test_where_they_agree_more_nothing_is_changed_and_the_target_rises() -> None:
    train, _ = gradients(0)
    rule = GradientVaccine(beta=0.25)
    for target in (0.25, 0.4375):
        assert torch.equal(flat(rule(train, train)), flat(train))
        assert rule.state == pytest.approx(target, abs=1e-12)


def test_however_long_they_agreed_what_does_not_is_still_turned() -> None:
    train, meta = gradients(1)
    rule = GradientVaccine(beta=0.9)
    for _ in range(40):
        rule(meta, meta)
    assert rule.state == pytest.approx(0.999)
    assert cosine(rule(train, meta), meta) == pytest.approx(0.999)


@pytest.mark.parametrize("kind", [GradientVaccine, PCGrad])
def test_a_gradient_of_0_changes_nothing(kind: type[GradientVaccine]) -> None:
    train, meta = gradients(1)
    nothing = {name: torch.zeros_like(gradient) for name, gradient in meta.items()}
    rule = kind()
    rule.state = 0.5
    assert torch.equal(flat(rule(train, nothing)), flat(train))
    assert torch.equal(flat(rule(nothing, meta)), flat(nothing))
    assert math.isfinite(rule.state)


def test_a_param_that_the_meta_loss_does_not_see_keeps_its_gradient() -> None:
    applied = PCGrad()({"w": torch.tensor([3.0]), "own": torch.tensor([1.0])}, {"w": torch.tensor([-1.0])})
    assert (applied["w"].tolist(), applied["own"].tolist()) == ([0], [1])


@pytest.mark.parametrize("name", [name for name in GRADIENT_RULES if name != "none"])
def test_a_curriculum_goes_on_from_a_state_as_if_it_had_never_stopped(name: str) -> None:
    def params(student: torch.nn.Module) -> Tensor:
        return torch.cat([param.detach().flatten() for param in student.parameters()])

    def stepped(curriculum: object, steps: range) -> None:
        for seed in steps:
            curriculum.step(batch_of(seed=seed))  # type: ignore[attr-defined]

    rules: list[AbstractGradientRule] = [GRADIENT_RULES[name]() for _ in range(2)]
    whole = student_of()
    run = curriculum_of(whole, gradient_rule=rules[0])
    stepped(run, range(3))
    state, table = capture_curriculum(run, run.history.table), {k: v.clone() for k, v in whole.state_dict().items()}
    momentum = run.optimizer.state_dict()
    stepped(run, range(3, 6))
    again = student_of()
    other = curriculum_of(again, gradient_rule=rules[1])
    again.load_state_dict(table)
    other.optimizer.load_state_dict(momentum)
    restore_curriculum(type(state).from_table(state.table()), other)
    stepped(other, range(3, 6))
    assert torch.equal(params(whole), params(again))
    assert state.gradient_rule is not None


def test_only_the_trainer_changes_gradients() -> None:
    student = torch.nn.Linear(2, 2)
    meta = torch.zeros(4, 2), torch.zeros(4, dtype=torch.long)
    schedule = CurriculumConfig(gradient_rule="pcgrad")
    with pytest.raises(UserError, match="gradient_rule is 'pcgrad', which changes gradients"):
        LearnedCurriculum(
            student, torch.optim.SGD(student.parameters(), 0.1), meta, total_steps=10, curriculum=schedule
        )


@pytest.mark.parametrize(
    "parts", [{"gradient_rule": PCGrad()}, {"weighting": LearningToReweight()}], ids=["pcgrad", "l2rw"]
)
def test_each_step_has_a_meta_batch_of_its_own(parts: dict[str, Any]) -> None:
    """And the same one after a resume: it goes by the step."""
    asked: list[int] = []
    meta = batch_of(6, seed=9)

    def meta_batch(number: int) -> MetaBatch:
        asked.append(number)
        return MetaBatch(meta.inputs, meta.labels, len(meta))

    curriculum = curriculum_of(student_of(), meta_batch=meta_batch, **parts)
    for _ in range(3):
        curriculum.step(batch_of())
    assert asked == [0, 1, 2]
