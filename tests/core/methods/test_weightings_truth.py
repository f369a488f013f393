"""Closed-form weightings, and the table of methods."""

from __future__ import annotations

import dataclasses
import math

import pytest
import torch
from tiny_run import batch_of, curriculum_of, observation_of, student_of

from ray_mentor.config import CurriculumConfig, MentorConfig
from ray_mentor.core.batch import MetaBatch
from ray_mentor.core.exchange import Alone
from ray_mentor.core.influence.step_jacobian import check_optimizer
from ray_mentor.core.mentor.access import LocalMentor
from ray_mentor.core.mentor.learner import MentorLearner
from ray_mentor.core.methods.table import METHODS, method_of, parts_of
from ray_mentor.core.methods.weightings import (
    PACES,
    FocalWeights,
    HardMining,
    Learned,
    LinearSPCL,
    Oracle,
    Predefined,
    SelfPaced,
    Uniform,
)
from ray_mentor.core.step.percentile import RunningPercentile
from ray_mentor.errors import UserError

LOSSES = torch.tensor([0.1, 2.0, 0.5])


def test_uniform() -> None:
    assert Uniform()(observation_of(LOSSES)).tolist() == [1, 1, 1]


def test_self_paced_keeps_what_lies_at_or_below_the_percentile() -> None:
    assert SelfPaced()(observation_of(LOSSES, torch.tensor([-0.1, 0.3, 0.0]))).tolist() == [1, 0, 1]


Q = 2.0
PACED = (0.0, 0.5, 1.0, 1.5, 2.0, 3.0)  # losses, of a running percentile of 2


@pytest.mark.parametrize(
    ("pace", "expected"),
    [
        ("hard", [1, 1, 1, 1, 1, 0]),
        ("linear", [1, 0.75, 0.5, 0.25, 0, 0]),
        # λ = ½: log(ℓ/2q + ½)/log ½
        ("logarithmic", [1, -math.log2(0.625), -math.log2(0.75), -math.log2(0.875), 0, 0]),
        # λ1 = 2, λ2 = 1, ζ = 2: 2·(1/ℓ − 1/2)
        ("mixture", [1, 1, 1, 2 / 1.5 - 1, 0, 0]),
    ],
)
def test_a_pace_by_hand(pace: str, expected: list[float]) -> None:
    losses = torch.tensor(PACED, dtype=torch.float64)
    found = SelfPaced(pace)(observation_of(losses, losses - Q))
    torch.testing.assert_close(found, torch.tensor(expected, dtype=torch.float64), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("pace", PACES)
def test_a_pace_does_not_depend_on_units_and_is_hard_where_there_are_none(pace: str) -> None:
    losses = torch.tensor(PACED, dtype=torch.float64)
    one, other = (SelfPaced(pace)(observation_of(c * losses, c * (losses - Q))) for c in (1.0, 0.01))
    torch.testing.assert_close(one, other, rtol=1e-12, atol=1e-12)
    below = torch.tensor([-3.0, -2.0, 0.5])
    assert SelfPaced(pace)(observation_of(below, below + 1)).tolist() == [1, 1, 0], "the percentile is -1"


def test_an_unknown_pace() -> None:
    with pytest.raises(UserError, match="unknown pace 'slow'; valid: hard, linear, logarithmic, mixture"):
        method_of("self-paced").weighting(CurriculumConfig(pace="slow"), MentorConfig(), None)


def test_spcl_by_hand_and_its_limit() -> None:
    d = torch.tensor([-1.0, 0.0, 0.25, 1.0, 2.0])
    assert LinearSPCL()(observation_of(d + 3, d)).tolist() == [1, 1, 0.75, 0, 0]
    assert LinearSPCL(0.5)(observation_of(d + 3, d)).tolist() == [1, 1, 0.5, 0, 0]
    assert torch.equal(LinearSPCL(1e-30)(observation_of(d + 3, d)), SelfPaced()(observation_of(d + 3, d)))


def test_hard_mining_is_the_reverse() -> None:
    d = torch.tensor([-1.0, 0.0, 0.25])
    assert HardMining()(observation_of(d + 3, d)).tolist() == [0, 1, 1]


def test_focal_by_hand() -> None:
    p = torch.tensor([1.0, 0.75, 0.5, 0.1], dtype=torch.float64)
    found = FocalWeights()(observation_of(-p.log()))
    torch.testing.assert_close(found, (1 - p) ** 2, rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize(
    ("progress", "expected"),
    [
        (0.0, [1, 1, 1]),
        (0.189, [1, 1, 1]),
        (0.19, [1, 0, 0]),
        (0.899, [1, 0, 0]),
        (0.9, [1, 0.5, 0]),
        (0.999, [1, 0.5, 0]),
    ],
)
def test_the_predefined_curriculum(progress: float, expected: list[float]) -> None:
    d = torch.tensor([-1.0, 0.5, 2.0])
    seen = observation_of(d + 3, d)
    features = dataclasses.replace(seen.features, progress=torch.full((3,), progress))
    assert Predefined()(dataclasses.replace(seen, features=features)).tolist() == expected


def test_oracle_keeps_right_labels() -> None:
    assert Oracle()(observation_of(LOSSES, clean=torch.tensor([True, False, True]))).tolist() == [1, 0, 1]
    record = curriculum_of(student_of(), weighting=Oracle()).step(batch_of())
    assert record.sample_weights.tolist() == [1, 0, 1, 0, 1]


def test_oracle_without_the_truth() -> None:
    with pytest.raises(
        UserError, match="method is 'oracle', but the true labels of this data are not known; add noise"
    ):
        curriculum_of(student_of(), weighting=Oracle()).step(batch_of(true_labels=False))


@pytest.mark.parametrize(
    "name",
    [
        name
        for name, method in METHODS.items()
        if name not in ("mentornet-frozen", "rule") and method.students == 1 and not method.needs_groups
    ],
)
def test_every_method_of_the_table_takes_a_step(name: str) -> None:
    method = method_of(name)
    config = MentorConfig()
    access = LocalMentor(MentorLearner(config, 3, seed=0)) if method.learns else None
    weighting = method.weighting(CurriculumConfig(), config, access)
    record = curriculum_of(student_of(), weighting=weighting, mentor=access).step(batch_of())
    assert ((record.scored >= 0) & (record.scored <= 1)).all()
    assert record.influence.isnan().all() == (not method.learns)
    assert (record.meta_loss is None) == (not method.learns)


def test_a_learning_method_scores_with_its_mentor() -> None:
    access = LocalMentor(MentorLearner(MentorConfig(), 3, seed=0))
    weighting = method_of("mentornet").weighting(CurriculumConfig(), MentorConfig(), access)
    assert isinstance(weighting, Learned)
    torch.testing.assert_close(weighting(observation_of(LOSSES)), torch.full((3,), 0.9))


def test_an_unknown_method_is_told_the_names() -> None:
    with pytest.raises(UserError) as caught:
        method_of("mentor-net")
    assert str(caught.value) == (
        "unknown method 'mentor-net'; valid: mentornet, mentornet-pd, uniform, oracle, self-paced, l2rw, spcl, "
        "predefined, focal, hard-mining, group-dro, mentornet-frozen, co-teaching, dividemix, mentornet-dd, "
        "mentornet-refined, rule"
    )


REFUSED = (
    "optimizer is Adafactor, but its step mixes elements: a param moves along the gradients of others; train what it "
    "holds with another; valid: SGD, Adam, AdamW, Adagrad, RMSprop, and any other whose step works element by element"
)


def test_an_optimizer_that_no_mentor_can_learn_through() -> None:
    with pytest.raises(UserError) as caught:
        check_optimizer(torch.optim.Adafactor(student_of().parameters()))
    assert str(caught.value) == REFUSED


def test_such_an_optimizer_is_refused_before_the_first_step_and_only_where_a_mentor_learns() -> None:
    student = student_of()
    optimizer = torch.optim.Adafactor(student.parameters())
    access = LocalMentor(MentorLearner(MentorConfig(), 3, seed=0))
    with pytest.raises(UserError, match="optimizer is Adafactor"):
        curriculum_of(student, optimizer, mentor=access)
    curriculum_of(student, optimizer).step(batch_of())


def test_one_process_exchanges_with_itself() -> None:
    alone = Alone()
    assert alone.sizes(4) == (4,)
    assert alone.total(2.5) == 2.5
    assert alone.broadcast("word") == "word"
    assert torch.equal(alone.gather(LOSSES[:, None], (3,))[:, 0], LOSSES)


def test_self_paced_follows_the_running_percentile_of_the_run() -> None:
    curriculum = curriculum_of(student_of(), weighting=SelfPaced(), config=MentorConfig(loss_percentile=0.5))
    running = RunningPercentile(0.5, 0.9)
    for seed in range(3):
        record = curriculum.step(batch_of(seed=seed))
        assert record.scored.bool().tolist() == (record.losses <= running.update(record.losses)).tolist()


@pytest.mark.parametrize(("method", "default"), [("mentornet", 0.15), ("uniform", 0.0), ("oracle", 0.0)])
def test_burn_in_is_the_methods_own_unless_it_is_given(method: str, default: float) -> None:
    for given, expected in ((None, default), (0.0, 0.0), (0.3, 0.3)):
        config = CurriculumConfig(method=method, burn_in=given)
        access = LocalMentor(MentorLearner(MentorConfig(), 3, 0))
        parts = parts_of(config, MentorConfig(), access, None, lambda _: MetaBatch(torch.ones(1), torch.ones(1), 1))
        assert parts.burn_in == expected
