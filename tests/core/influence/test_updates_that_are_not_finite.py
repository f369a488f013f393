"""A meta update that is not finite leaves the mentor as it was, is counted, and the run goes on."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import pytest
import torch
from own_loop import Loop, blobs
from set_mentors import CLASSES, batch, contents, linear, run_of
from stand_ins import Spy
from tiny_run import batch_of
from torch import Tensor
from torch.nn import functional as F

from ray_mentor.config import MentorConfig
from ray_mentor.core.batch import MetaBatch
from ray_mentor.core.curriculum import Curriculum
from ray_mentor.core.influence.estimators import ESTIMATORS, ForwardMode
from ray_mentor.core.losses import ExpectedError, PerSampleLoss, cross_entropy
from ray_mentor.core.mentor.learner import MentorLearner, MentorState, MetaUpdate
from ray_mentor.core.mentor.networks.mlp import MLPMentor
from ray_mentor.core.step.features import Features
from ray_mentor.core.step.record import StepRecord

CONFIG = MentorConfig(mentor_features=("loss", "label"), mentor_hidden=(4,), mentor_learning_rate=0.01)
N = 6


def meta_batches(bad: int, value: float) -> Callable[[int], MetaBatch]:
    """Meta batches, one of which has an input of this value."""

    def give(update: int) -> MetaBatch:
        made = batch_of(6, seed=900 + update)
        if update == bad:
            made.inputs[2, 1] = value
        return MetaBatch(made.inputs, made.labels, 6)

    return give


def endless_slope(outputs: Tensor, labels: Tensor) -> Tensor:
    """A loss whose value is finite, and whose gradient is not."""
    return F.cross_entropy(outputs, labels, reduction="none") + (0 * outputs.sum(dim=1)).sqrt()


def steps_of(curriculum: Curriculum, mentor: Spy, steps: int) -> list[tuple[StepRecord, MentorState]]:
    return [(curriculum.step(batch(seed)), mentor.state) for seed in range(steps)]


# What the curriculum computes


@pytest.mark.parametrize("value", [torch.inf, torch.nan])
@pytest.mark.parametrize("meta_loss", [cross_entropy, ExpectedError(cross_entropy)])
@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_a_bad_meta_batch_is_skipped(estimator: str, meta_loss: PerSampleLoss, value: float) -> None:
    mentor = linear(("loss",), [-1.0], estimator=estimator)
    curriculum = run_of(mentor, estimator=estimator, meta_loss=meta_loss, meta_batch=meta_batches(1, value))
    (_, first), (record, second), (_, third) = steps_of(curriculum, mentor, 3)
    assert second.payload == first.payload
    assert (second.version, second.update_id, second.skipped) == (2, 1, 1)
    assert record.influence.isnan().all()
    assert record.meta_loss is None or meta_loss is not cross_entropy
    assert third.payload != first.payload
    assert (third.version, third.update_id, third.skipped) == (3, 2, 1)
    assert curriculum.guards.skipped_updates == 1
    assert curriculum.meta.done == 3, "the next update takes the next meta batch"
    assert all(param.isfinite().all() for param in curriculum.student.parameters())


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_a_finite_meta_loss_with_a_gradient_that_is_not(estimator: str) -> None:
    mentor = linear(("loss",), [-1.0], estimator=estimator)
    curriculum = run_of(mentor, estimator=estimator, meta_loss=endless_slope)
    ((record, state),) = steps_of(curriculum, mentor, 1)
    assert record.meta_loss is not None
    assert record.influence.isnan().all()
    assert (state.version, state.update_id, state.skipped) == (1, 0, 1)


@pytest.mark.parametrize("value", [torch.inf, torch.nan])
def test_a_meta_loss_that_is_not_finite_with_a_gradient_that_is(value: float) -> None:
    mentor = linear(("loss",), [-1.0])
    curriculum = run_of(mentor, meta_loss=lambda outputs, labels: cross_entropy(outputs, labels) + value)
    ((record, state),) = steps_of(curriculum, mentor, 1)
    assert record.meta_loss is None
    assert record.influence.isnan().all()
    assert (state.version, state.update_id, state.skipped) == (1, 0, 1)


@pytest.mark.parametrize("wanted", [1, 7])
def test_an_influence_that_was_not_computed_is_not_one_that_is_not_finite(wanted: int) -> None:
    mentor = linear(("loss",), [-1.0])
    curriculum = run_of(mentor, influence_samples=wanted)
    ((record, state),) = steps_of(curriculum, mentor, 1)
    assert record.influence.isfinite().sum() == wanted
    assert (state.version, state.skipped) == (1, 0)


@pytest.mark.parametrize("value", [torch.nan, torch.inf, -torch.inf])
def test_one_influence_that_is_not_finite_is_enough(value: float, monkeypatch: pytest.MonkeyPatch) -> None:
    found = ForwardMode.__call__

    def spoiled(estimator: ForwardMode, *given: Any) -> Tensor:
        return found(estimator, *given).index_fill(0, torch.tensor(3), value)

    monkeypatch.setattr(ForwardMode, "__call__", spoiled)
    mentor = linear(("loss",), [-1.0])
    ((record, state),) = steps_of(run_of(mentor), mentor, 1)
    assert record.influence.isnan().nonzero().tolist() == [[3]], "the others are known"
    assert (state.version, state.update_id, state.skipped) == (1, 0, 1)


def test_a_mentor_may_be_wrong_in_every_update() -> None:
    mentor = linear(("loss",), [-1.0])
    curriculum = run_of(mentor, meta_loss=endless_slope)
    before = mentor.state.payload
    steps = steps_of(curriculum, mentor, 5)
    assert {state.payload for _, state in steps} == {before}
    assert curriculum.guards.skipped_updates == curriculum.meta.done == 5


# What the learner does


def features(loss: float = 1.0) -> Features:
    draw = torch.Generator().manual_seed(4)
    losses = torch.rand(N, generator=draw)
    losses[0] = loss
    return Features(losses, losses - 0.5, torch.arange(N) % CLASSES, torch.full((N,), 0.1), torch.zeros(N, 0))


def update(step: int, *, loss: float = 1.0, influence: float = 0.5) -> MetaUpdate:
    draw = torch.Generator().manual_seed(step)
    influences = torch.randn(N, generator=draw)
    influences[2], influences[3] = influence, torch.nan
    return MetaUpdate(step, features(loss), influences, torch.ones(N, dtype=torch.bool))


def of_endless_decay() -> MentorLearner:
    """A step multiplies the params by 1 − rate·decay, which in float32 is infinite here."""
    rates = {"mentor_learning_rate": 1e17, "update_interval": 10**6, "mentor_weight_decay": 1e17}
    return MentorLearner(dataclasses.replace(CONFIG, **rates), CLASSES, seed=0)


def assert_unchanged(learner: MentorLearner, before: MentorState) -> None:
    """Params and optimizer state, bit for bit."""
    found, expected = contents(learner.state()), contents(before)
    assert found["mentor"].keys() == expected["mentor"].keys()
    assert all(torch.equal(value, expected["mentor"][name]) for name, value in found["mentor"].items())
    moments, kept = found["optimizer"]["state"], expected["optimizer"]["state"]
    assert moments.keys() == kept.keys()
    for index, state in moments.items():
        assert all(torch.equal(value, kept[index][name]) for name, value in state.items())


@pytest.mark.parametrize("influence", [torch.inf, -torch.inf])
@pytest.mark.parametrize("warm", [False, True])
def test_an_infinite_influence(warm: bool, influence: float) -> None:
    learner = MentorLearner(CONFIG, CLASSES, seed=0)
    if warm:
        learner.learn(update(0))
    before = learner.state()
    learner.learn(update(10, influence=influence))
    assert_unchanged(learner, before)
    assert (learner.version, learner.update_id, learner.skipped) == (before.version + 1, 10, 1)


def test_an_influence_beyond_what_the_mentors_params_can_hold() -> None:
    learner = MentorLearner(CONFIG, CLASSES, seed=0)
    before = learner.state()
    given = update(10)
    learner.learn(dataclasses.replace(given, influence=given.influence.double() * 1e300))
    assert_unchanged(learner, before)
    assert learner.skipped == 1


@pytest.mark.parametrize("warm", [False, True])
def test_an_infinite_step_is_taken_back(warm: bool) -> None:
    learner, sound = of_endless_decay(), MentorLearner(CONFIG, CLASSES, seed=0)
    if warm:
        sound.learn(update(0))
        rates = learner._optimizer.param_groups
        learner.load(sound.state())
        learner._optimizer.param_groups[0].update({name: rates[0][name] for name in ("lr", "weight_decay")})
    before = learner.state()
    learner.learn(update(10))
    assert_unchanged(learner, before)
    assert (learner.version, learner.update_id, learner.skipped) == (before.version + 1, 10, 1)


def test_an_infinite_moment_is_taken_back_though_the_params_are_finite() -> None:
    """Adam divides by the root of its second moment: where that is infinite, nothing moves, then or later."""
    config = dataclasses.replace(CONFIG, mentor_features=("loss",), mentor_hidden=(), anchor=0.0)
    learner = MentorLearner(config, CLASSES, seed=0)
    before = learner.state()
    learner.learn(update(10, loss=1e25))
    assert_unchanged(learner, before)
    assert learner.skipped == 1
    learner.learn(update(20))
    assert learner.skipped == 1
    assert contents(learner.state())["mentor"]["head.weight"] != contents(before)["mentor"]["head.weight"]


def test_infinite_params_are_taken_back_though_the_weights_are_finite() -> None:
    """All of them 0."""
    rates: dict[str, Any] = {"mentor_learning_rate": 1e17, "update_interval": 10**6, "mentor_weight_decay": 1e17}
    mentor = linear(("loss",), [1.0], 1.0, **rates)
    before = mentor.state
    mentor.learn(update(10))
    assert contents(mentor.state)["mentor"]["head.weight"] == 1
    assert (mentor.state.version, mentor.skipped) == (before.version + 1, 1)


def test_params_so_large_that_weights_are_not_finite_are_taken_back() -> None:
    config = dataclasses.replace(CONFIG, mentor_features=("loss", "loss_difference"), mentor_hidden=(), anchor=0.0)
    config = dataclasses.replace(config, mentor_learning_rate=3e17, update_interval=10**18)
    learner = MentorLearner(config, CLASSES, seed=0)
    network = learner._mentor
    assert isinstance(network, MLPMentor)

    def forward(features: Features) -> torch.Tensor:
        """Each product is rounded on its own: fused with an addition, ∞ − 1.2e39 would be ∞ and no NaN."""
        return (network.columns(features) * network.head.weight).sum(1) + network.head.bias + network.logit_offset

    network.forward = forward  # type: ignore[method-assign]
    before = learner.state()
    given = update(10)
    loss = torch.tensor([4000.0, 1.0, 2.0, 3.0, 4.0, 5.0])
    seen = dataclasses.replace(given.features, loss=loss, loss_difference=torch.cat([-loss[:1], loss[1:]]))
    keep = torch.arange(N) > 0  # both params move alike, and the sample that is left out has inf − inf
    learner.learn(MetaUpdate(10, seen, torch.tensor([0.0, -2.0, -1.0, 0.0, 1.0, 2.0]), keep))
    assert_unchanged(learner, before)
    assert learner.skipped == 1


def test_the_count_is_in_the_state() -> None:
    first, second = (MentorLearner(CONFIG, CLASSES, seed=0) for _ in range(2))
    first.learn(update(10, influence=torch.inf))
    second.load(first.state())
    second.learn(update(20, influence=torch.inf))
    assert second.state().skipped == 2


# A loop of one's own


def test_a_loop_of_ones_own_goes_on() -> None:
    inputs, labels = blobs(16, 1)
    bad = torch.full_like(inputs, torch.inf)
    loop = Loop(meta_loader=[(inputs, labels), (bad, labels)], mentor=MentorConfig(update_interval=1))
    records = loop.run(4)
    assert [record.meta_loss is None for record in records] == [False, True, False, True]
    assert (loop.curriculum.guards.skipped_updates, loop.curriculum.guards.fallbacks) == (2, 0)
    again = Loop(mentor=MentorConfig(update_interval=1))
    again.curriculum.load_state_dict(loop.curriculum.state_dict() | {"meta_set": {}})
    assert again.curriculum.guards.skipped_updates == 2
