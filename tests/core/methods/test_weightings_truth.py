"""Closed-form weightings, and the table of methods."""

from __future__ import annotations

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
from ray_mentor.core.methods.weightings import Learned, Oracle, SelfPaced, Uniform
from ray_mentor.core.step.percentile import RunningPercentile
from ray_mentor.errors import UserError

LOSSES = torch.tensor([0.1, 2.0, 0.5])


def test_uniform() -> None:
    assert Uniform()(observation_of(LOSSES)).tolist() == [1, 1, 1]


def test_self_paced_keeps_what_lies_at_or_below_the_percentile() -> None:
    assert SelfPaced()(observation_of(LOSSES, torch.tensor([-0.1, 0.3, 0.0]))).tolist() == [1, 0, 1]


def test_oracle_keeps_right_labels() -> None:
    assert Oracle()(observation_of(LOSSES, clean=torch.tensor([True, False, True]))).tolist() == [1, 0, 1]
    record = curriculum_of(student_of(), weighting=Oracle()).step(batch_of())
    assert record.sample_weights.tolist() == [1, 0, 1, 0, 1]


def test_oracle_without_the_truth() -> None:
    with pytest.raises(
        UserError, match="method is 'oracle', but the true labels of this data are not known; add noise"
    ):
        curriculum_of(student_of(), weighting=Oracle()).step(batch_of(true_labels=False))


@pytest.mark.parametrize("name", [name for name in METHODS if name != "mentornet-pd"])
def test_every_method_of_the_table_takes_a_step(name: str) -> None:
    method = method_of(name)
    config = MentorConfig()
    access = LocalMentor(MentorLearner(config, 3, seed=0)) if method.learns else None
    weighting = method.weighting(config, access)
    record = curriculum_of(student_of(), weighting=weighting, mentor=access).step(batch_of())
    assert ((record.scored >= 0) & (record.scored <= 1)).all()
    assert record.influence.isnan().all() == (not method.learns)
    assert (record.meta_loss is None) == (not method.learns)


def test_a_learning_method_scores_with_its_mentor() -> None:
    access = LocalMentor(MentorLearner(MentorConfig(), 3, seed=0))
    weighting = method_of("mentornet").weighting(MentorConfig(), access)
    assert isinstance(weighting, Learned)
    torch.testing.assert_close(weighting(observation_of(LOSSES)), torch.full((3,), 0.9))


def test_an_unknown_method_is_told_the_names() -> None:
    with pytest.raises(UserError) as caught:
        method_of("mentor-net")
    assert str(caught.value) == (
        "unknown method 'mentor-net'; valid: mentornet, mentornet-pd, uniform, oracle, self-paced"
    )


def test_the_published_mentor_needs_its_params() -> None:
    with pytest.raises(UserError, match=r"needs the published params; give --mentor-params FILE\.npz"):
        method_of("mentornet-pd").weighting(MentorConfig(), None)


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
