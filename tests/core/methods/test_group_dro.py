"""Group DRO: by hand, beside the released algorithm, resumed, and over ranks."""

from __future__ import annotations

import copy
import dataclasses
import math

import numpy as np
import pytest
import torch
from thread_ranks import on_ranks
from tiny_run import observation_of
from torch import Tensor
from torch.nn.functional import cross_entropy
from truth_curriculum import as_batch, make_curriculum
from truth_students import make_student, samples

from ray_mentor.config import CurriculumConfig, MentorConfig
from ray_mentor.core.batch import Batch
from ray_mentor.core.curriculum import Curriculum
from ray_mentor.core.epoch import EpochEnd
from ray_mentor.core.exchange import AbstractExchange
from ray_mentor.core.history.table import LossHistory
from ray_mentor.core.methods.table import method_of, parts_of
from ray_mentor.core.methods.weightings import GroupDRO
from ray_mentor.core.state.checked import read_curriculum_state
from ray_mentor.core.state.curriculum import capture_curriculum, restore_curriculum
from ray_mentor.core.step.observation import observe
from ray_mentor.core.step.percentile import RunningPercentile
from ray_mentor.errors import NonFiniteLossError, UserError

SIZES = {"barn": 5, "lake": 4, "wood": 3, "only tested": 0}
RATE = 0.5
NOBODY = -1e300


def weighting_of(rate: float = RATE) -> GroupDRO:
    made = GroupDRO(rate)
    made.take_groups(SIZES)
    return made


def test_shares_and_weights_by_hand() -> None:
    """Mean losses 2 and 1/2, wood absent: q ∝ e, e^¼, 1; weights q_g/n_g over the largest. Then other groups."""
    weighting = weighting_of()
    assert weighting.shares is not None
    assert weighting.shares.tolist() == pytest.approx([1 / 3, 1 / 3, 1 / 3, 0], abs=1e-16)
    losses = torch.tensor([1.0, 0.5, 3.0], dtype=torch.float64)
    seen = dataclasses.replace(observation_of(losses), groups=torch.tensor([0, 1, 0]))
    weights = weighting(seen)
    whole = math.e + math.exp(0.25) + 1
    lake, barn = math.exp(0.25) / whole, math.e / whole
    assert weights.tolist() == pytest.approx([1, lake * 2 / barn, 1], abs=1e-15)
    assert weighting.shares.tolist() == pytest.approx([1 / 3, 1 / 3, 1 / 3, 0], abs=1e-16), "not before the step"
    weighting.stepped()
    assert weighting.shares.tolist() == pytest.approx([barn, lake, 1 / whole, 0], abs=1e-15)
    weighting(dataclasses.replace(seen, groups=torch.tensor([1, 2, 1])))
    weighting.stepped()
    again = [math.exp(1), math.exp(0.25 + 1), math.exp(0.25), 0]
    assert weighting.shares.tolist() == pytest.approx([each / sum(again) for each in again], abs=1e-15)


def test_a_share_too_small_for_a_number_comes_back() -> None:
    """Losses of 10⁴ in the barn take the lake's q to e^−5000, which is 0; as much there later makes them even again.

    Closed form: log q_g = η·Σ_steps L_g, but for the sum; and of a batch of the lake alone, the weights are 1.
    """
    weighting = weighting_of()
    large = torch.tensor([1e4, 0.0, 0.0], dtype=torch.float64)
    seen = dataclasses.replace(observation_of(large), groups=torch.tensor([0, 1, 2]))
    assert weighting(seen).tolist() == [1, 0, 0]
    weighting.stepped()
    assert weighting.shares is not None
    assert weighting.state is not None
    assert weighting.shares.tolist() == [1, 0, 0, 0], "as numbers"
    assert weighting.state.tolist() == [0, -RATE * 1e4, -RATE * 1e4, NOBODY]
    resumed = weighting_of()
    assert resumed.could_be(weighting.state, 3)
    resumed.state = weighting.state
    ones = torch.tensor([2e4, 2e4, 2e4], dtype=torch.float64)
    alone = dataclasses.replace(observation_of(ones), groups=torch.tensor([1, 1, 1]))
    assert resumed(alone).tolist() == [1, 1, 1]
    resumed.stepped()
    assert resumed.state.tolist() == [-RATE * 1e4, 0, -RATE * 2e4, NOBODY]
    again = torch.tensor([1e4 + 2, 0.0, 2e4], dtype=torch.float64)
    weights = resumed(dataclasses.replace(seen, features=observation_of(again).features))
    resumed.stepped()
    whole = 2 + math.e
    assert resumed.shares is not None
    assert resumed.shares.tolist() == pytest.approx([math.e / whole, 1 / whole, 1 / whole, 0], abs=1e-12)
    assert weights.tolist() == pytest.approx([1, 1 / math.e, 1 / math.e], abs=1e-12)


def batch_at(step: int, *, trusted: bool = False) -> Batch:
    """Five samples, of the second step none of the lake."""
    groups = torch.tensor([[0, 1, 2, 0, 0], [2, 0, 0, 2, 0], [1, 1, 1, 2, 0]])[step % 3]
    batch = dataclasses.replace(as_batch(samples("mlp", 5, step)), groups=groups)
    return dataclasses.replace(batch, trusted=torch.arange(5) > 2) if trusted else batch


def curriculum_of(weighting: GroupDRO, rate: float = 0.1, seed: int = 0) -> Curriculum:
    student = make_student("mlp", seed)
    optimizer = torch.optim.SGD(student.parameters(), rate, momentum=0.9)
    return make_curriculum(student, optimizer, samples("mlp", 6, 9), weighting=weighting)


def released(student: torch.nn.Module, steps: int) -> Tensor:
    """As the paper's algorithm and its released code have it: losses of groups first, then q, then one sum."""
    optimizer = torch.optim.SGD(student.parameters(), 0.1, momentum=0.9)
    q = torch.tensor([1 / 3, 1 / 3, 1 / 3], dtype=torch.float64)
    for step in range(steps):
        batch = batch_at(step)
        losses = cross_entropy(student(batch.inputs), batch.labels, reduction="none")
        there = [group for group in range(3) if (batch.groups == group).any()]
        means = [losses[batch.groups == group].mean() for group in there]
        for group, mean in zip(there, means, strict=True):
            q[group] *= torch.exp(RATE * mean.detach())
        q = q / q.sum()
        optimizer.zero_grad()
        (sum(q[group] * mean for group, mean in zip(there, means, strict=True)) / q[there].sum()).backward()
        optimizer.step()
    return q


@pytest.mark.parametrize("trusted", [False, True])
def test_steps_are_those_of_the_algorithm(trusted: bool) -> None:
    """Trusted samples among the others count as their groups do."""
    curriculum = curriculum_of(weighting_of())
    reference = copy.deepcopy(curriculum.student)
    for step in range(6):
        curriculum.step(batch_at(step, trusted=trusted))
    q = released(reference, 6)
    weighting = curriculum.parts.weighting
    assert isinstance(weighting, GroupDRO)
    assert weighting.shares is not None
    torch.testing.assert_close(weighting.shares[:3], q, rtol=0, atol=1e-14)
    for found, expected in zip(curriculum.student.parameters(), reference.parameters(), strict=True):
        torch.testing.assert_close(found, expected, rtol=0, atol=1e-13)


def test_it_goes_on_with_the_same_bits() -> None:
    whole, first = curriculum_of(weighting_of()), curriculum_of(weighting_of())
    for step in range(6):
        whole.step(batch_at(step))
    for step in range(3):
        first.step(batch_at(step))
    state = capture_curriculum(first, first.history.whole(first.exchange))
    assert state.at_epoch[0] is not None
    rest = curriculum_of(weighting_of(), seed=1)
    rest.student.load_state_dict(first.student.state_dict())
    rest.optimizer.load_state_dict(first.optimizer.state_dict())
    restore_curriculum(read_curriculum_state(state.table()), rest)
    for step in range(3, 6):
        rest.step(batch_at(step))
    q = [each.parts.at_epoch[0].state for each in (whole, rest)]
    assert q[0] is not None
    assert q[1] is not None
    assert torch.equal(q[0], q[1])
    assert all(torch.equal(*both) for both in zip(whole.student.parameters(), rest.student.parameters(), strict=True))


def test_a_batch_that_is_refused_leaves_the_shares() -> None:
    curriculum = curriculum_of(weighting_of())
    curriculum.step(batch_at(0))
    before = curriculum.parts.at_epoch[0].state
    bad = batch_at(1)
    assert isinstance(bad.inputs, Tensor)
    with pytest.raises(NonFiniteLossError):
        curriculum.step(bad.with_inputs(bad.inputs * torch.inf))
    after = curriculum.parts.at_epoch[0].state
    assert before is not None
    assert after is not None
    assert torch.equal(before, after)


def test_two_ranks_weigh_as_one_does() -> None:
    """Whichever samples of a group lie on which rank."""
    draw = torch.Generator().manual_seed(0)
    losses = torch.rand(4, 7, generator=draw, dtype=torch.float64) * 3
    groups = torch.from_numpy(np.random.default_rng(0).integers(3, size=(4, 7)))

    def weights(exchange: AbstractExchange) -> list[Tensor]:
        weighting, found = weighting_of(), []
        history, percentile = LossHistory(7, 0), RunningPercentile(0.6, 0.9)
        own = torch.arange(7).tensor_split(exchange.world_size)[exchange.rank]
        for step in range(4):
            batch = Batch(own, own, torch.zeros(len(own), 1), own % 3, groups=groups[step][own])
            found.append(weighting(observe(batch, losses[step][own], exchange, percentile, history, 0.0)))
            weighting.stepped()
        assert weighting.state is not None
        return [*found, weighting.state]

    (alone,) = on_ranks(1, weights)
    for found in on_ranks(2, weights):
        assert all(torch.equal(*both) for both in zip(found, alone, strict=True))


def test_the_end_says_what_shares_have_come_to() -> None:
    weighting, told = weighting_of(), []
    for progress in (0.5, 1.0):
        weighting.at_epoch(EpochEnd(1, progress, lambda: torch.empty(0), tell=told.append))
    assert told == ["group-dro ends with shares wood 0.333, lake 0.333, barn 0.333"]


def test_a_state_of_other_groups_is_none_of_its_own() -> None:
    weighting = weighting_of()
    shares = torch.tensor([0.2, 0.3, 0.5, 0.0], dtype=torch.float64)
    good = shares.log().clamp(min=NOBODY)
    assert weighting.could_be(good, 3)
    for bad in (good[:3], good / 2, -good, good + torch.nan, shares):
        assert not weighting.could_be(bad, 3)


def test_without_groups_it_is_refused() -> None:
    schedule = CurriculumConfig("group-dro")
    with pytest.raises(UserError, match="nobody says of which each sample is; name their column: --group-column"):
        parts_of(schedule, MentorConfig(), None, None, lambda _: None)  # type: ignore[arg-type, return-value]
    with pytest.raises(UserError, match="shares of a sum, but normalisation is 'batch'"):
        method_of("group-dro").weighting(schedule, MentorConfig(normalisation="batch"), None)
    with pytest.raises(UserError, match="group_rate is -1, but it must be at least 0"):
        CurriculumConfig(group_rate=-1)
