"""Co-teaching: which samples each student learns from, by hand; and without forgetting, two plain students."""

from __future__ import annotations

import copy
import dataclasses

import pytest
import torch
from tiny_run import observation_of
from torch import Tensor, nn
from truth_curriculum import as_batch, curriculum_of_settings
from truth_students import make_student, samples

from ray_mentor import CurriculumConfig, LearnedCurriculum, MentorConfig, UserError
from ray_mentor.core.curriculum import Curriculum
from ray_mentor.core.losses import OfBoth, cross_entropy
from ray_mentor.core.methods.pairs import CoTeaching, check_goes_with_two
from ray_mentor.core.step.observation import Observation
from ray_mentor.core.student.pair import Pair, members_of, pair_of

LOSSES = torch.tensor([[0.1, 3.0], [2.0, 0.2], [0.5, 0.4], [1.0, 2.0], [4.0, 0.3]])


def seen(losses: Tensor, epochs: float, trusted: tuple[int, ...] = ()) -> Observation:
    one = observation_of(losses.mean(dim=1))
    is_trusted = torch.zeros(len(losses), dtype=torch.bool)
    is_trusted[list(trusted)] = True
    features = dataclasses.replace(one.features, trusted=is_trusted)
    return dataclasses.replace(one, features=features, of_students=losses, epochs=epochs)


@pytest.mark.parametrize(
    ("epochs", "first", "second"),
    [
        (0.0, [1, 1, 1, 1, 1], [1, 1, 1, 1, 1]),
        (4.0, [0, 1, 1, 1, 1], [1, 1, 1, 1, 0]),  # f = 0.2: 4 of 5; the second's largest is 3.0, the first's 4.0
        (8.0, [0, 1, 1, 0, 1], [1, 0, 1, 1, 0]),  # f = 0.4: 3 of 5
        (12.0, [0, 1, 0, 0, 1], [1, 0, 1, 0, 0]),  # f = 0.6: 2 of 5
        (99.0, [0, 1, 0, 0, 1], [1, 0, 1, 0, 0]),
    ],
)
def test_each_student_learns_from_what_is_easy_for_the_other(
    epochs: float, first: list[int], second: list[int]
) -> None:
    picked = CoTeaching(0.6, 12)(seen(LOSSES, epochs))
    assert picked[:, 0].tolist() == first
    assert picked[:, 1].tolist() == second


def test_trusted_samples_are_not_counted_among_those_that_may_be_forgotten() -> None:
    picked = CoTeaching(0.5, 0)(seen(LOSSES, 3.0, trusted=(1,)))  # 2 of the other 4
    assert picked.tolist() == [[0, 1], [0, 0], [1, 1], [0, 0], [1, 0]]


def test_three_of_ten_is_three() -> None:
    losses = torch.arange(20.0).reshape(10, 2)
    assert CoTeaching(0.7, 0)(seen(losses, 1.0)).sum(0).tolist() == [3, 3]


@pytest.mark.parametrize(("n", "kept"), [(0, 0), (1, 1), (2, 1)])
def test_of_a_small_batch_one_is_kept(n: int, kept: int) -> None:
    assert CoTeaching(0.7, 0)(seen(LOSSES[:n], 1.0)).sum(0).tolist() == [kept, kept]


def pair(name: str = "mlp") -> Pair:
    return Pair(make_student(name, seed=0), make_student(name, seed=1))


def curriculum_of(student: nn.Module, method: str = "co-teaching", **schedule: object) -> Curriculum:
    settings = CurriculumConfig(**{"method": method, "burn_in": 0.0, **schedule})  # type: ignore[arg-type]
    made = curriculum_of_settings(student, settings, MentorConfig())
    made.optimizer = torch.optim.SGD(student.parameters(), 0.1, momentum=0.9, nesterov=True, weight_decay=1e-2)
    made.optimizers = (made.optimizer,)
    return made


@pytest.mark.parametrize("name", ["mlp", "conv with batch norm"])
def test_without_forgetting_they_are_two_plain_students_trained_apart(name: str) -> None:
    both = pair(name)
    alone = [copy.deepcopy(both.first), copy.deepcopy(both.second)]
    together = curriculum_of(both, forget_rate=0.0)
    apart = [curriculum_of(student, "uniform") for student in alone]
    for step in range(8):
        batch = as_batch(samples(name, 6, 10 + step))
        record = together.step(batch)
        losses = [each.step(batch).losses for each in apart]
        assert torch.equal(record.losses, (losses[0] + losses[1]) / 2)
    for student, other in zip((both.first, both.second), alone, strict=True):
        for (key, found), expected in zip(student.state_dict().items(), other.state_dict().values(), strict=True):
            assert torch.equal(found, expected), key


def test_a_step_is_along_the_mean_over_the_picks() -> None:
    """Against a plain loop, momentum and all."""
    both = pair()
    other = copy.deepcopy(both)
    curriculum = curriculum_of(both, forget_rate=0.5, forget_epochs=0.0)
    optimizer = torch.optim.SGD(other.parameters(), 0.1, momentum=0.9, nesterov=True, weight_decay=1e-2)
    for step in range(6):
        inputs, labels = samples("mlp", 6, 10 + step)
        record = curriculum.step(as_batch((inputs, labels)))
        losses = [nn.functional.cross_entropy(z, labels, reduction="none") for z in other(inputs).unbind(1)]
        picks = [losses[1 - student].argsort()[:3] for student in (0, 1)]
        optimizer.zero_grad()
        (losses[0][picks[0]].mean() + losses[1][picks[1]].mean()).backward()
        optimizer.step()
        mean_pick = sum(torch.zeros(6, dtype=torch.double).index_fill_(0, pick, 0.5) for pick in picks)
        assert torch.equal(record.sample_weights, mean_pick)
    for found, expected in zip(both.parameters(), other.parameters(), strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-14)


def test_dropped_samples_count_for_neither() -> None:
    record = curriculum_of(pair(), forget_rate=0.0, example_dropout="0.5:1").step(as_batch(samples("mlp", 6, 1)))
    assert sorted(record.sample_weights.tolist()) == [0, 0, 0, 1, 1, 1]


def test_a_pair_in_evaluation_is_one_student_of_the_mean_probability() -> None:
    both, (inputs, labels) = pair(), samples("mlp", 6, 1)
    assert both(inputs).shape == (6, 2, 3)
    both.eval()
    mean = (torch.softmax(both.first(inputs), 1) + torch.softmax(both.second(inputs), 1)) / 2
    torch.testing.assert_close(both(inputs).exp(), mean)
    expected = -mean.gather(1, labels[:, None])[:, 0].log()
    for loss in (cross_entropy, OfBoth(cross_entropy)):
        torch.testing.assert_close(loss(both(inputs), labels), expected)
    assert members_of(both) == {"first": both.first, "second": both.second}
    assert members_of(both.first) == {}


def test_two_students_begin_differently() -> None:
    torch.manual_seed(3)
    plain = nn.Linear(4, 3)
    torch.manual_seed(3)
    both = pair_of(lambda: nn.Linear(4, 3))
    assert torch.equal(both.first.weight, plain.weight), "the first as in a run of one"
    assert not torch.equal(both.second.weight, plain.weight)
    with pytest.raises(UserError, match="the two students that were built have the same params, so that neither"):
        pair_of(lambda: make_student("mlp"))


def test_outputs_that_are_no_logits_are_refused() -> None:
    with pytest.raises(UserError, match=r"^the student returns \(2, 1\), but where two students are trained it must"):
        pair_of(lambda: nn.Linear(4, 1))(torch.ones(2, 4))


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"loss": "gce"}, "loss is 'gce', but the two students of method 'co-teaching' go by .*; leave --loss out"),
        ({"mixing": "mixup"}, "mixing is 'mixup', but the two students of method 'co-teaching' .*; give --mixing none"),
        ({"gradient_rule": "pcgrad"}, "gradient_rule is 'pcgrad', which compares .*; give --gradient-rule none"),
    ],
)
def test_what_they_can_not_go_with(settings: dict[str, str], says: str) -> None:
    with pytest.raises(UserError, match=f"^{says}"):
        check_goes_with_two(CurriculumConfig("co-teaching", **settings), None)  # type: ignore[arg-type]
    with pytest.raises(UserError, match=r"^method is 'co-teaching', whose .* but a loss of your own was given, too"):
        check_goes_with_two(CurriculumConfig("co-teaching"), cross_entropy)


@pytest.mark.parametrize(
    ("setting", "value", "says"),
    [("forget_rate", 1.0, "lie in \\[0, 1\\)"), ("forget_rate", -0.1, "lie"), ("forget_epochs", -1.0, "at least 0")],
)
def test_rates_that_are_none(setting: str, value: float, says: str) -> None:
    with pytest.raises(UserError, match=f"{setting} is {value}, but it must .*{says}"):
        CurriculumConfig(**{setting: value})  # type: ignore[arg-type]


def test_in_a_loop_of_ones_own_there_is_no_second_student() -> None:
    student = nn.Linear(2, 2)
    with pytest.raises(UserError, match="method is 'co-teaching', which trains a second student beside yours; only"):
        LearnedCurriculum(
            student,
            torch.optim.SGD(student.parameters(), 0.1),
            (torch.zeros(4, 2), torch.zeros(4, dtype=torch.long)),
            total_steps=10,
            curriculum=CurriculumConfig(method="co-teaching"),
        )
