"""A mentor that is told which labels are right: as far as that can be learnt, and no further."""

from __future__ import annotations

import pytest
import torch
from sklearn.metrics import roc_auc_score

from ray_mentor.config import MentorConfig
from ray_mentor.core.mentor.learner import MentorLearner
from ray_mentor.core.mentor.offline.lesson import auroc, teach
from ray_mentor.core.mentor.offline.supervised import Rows
from ray_mentor.core.step.features import Features

pytestmark = pytest.mark.long  # each lesson takes a second

N = 600
KINDS = {"mlp": MentorConfig(), "mentornet": MentorConfig(mentor="mentornet")}


def rows(*, separable: bool, n: int = N) -> Rows:
    draw = torch.Generator().manual_seed(0)
    right = torch.rand(n, generator=draw) < 0.6
    loss = 4 * torch.rand(n, generator=draw)
    if separable:
        loss = torch.where(right, loss / 4, 1.5 + loss / 2)  # 0..1 and 1.5..3.5
    none = torch.zeros(n, 0)
    features = Features(loss, loss - 1.2, torch.zeros(n, dtype=torch.long), torch.full((n,), 0.3), none)
    return Rows(features, right.float(), torch.ones(n))


@pytest.mark.parametrize("kind", KINDS)
def test_losses_that_tell_right_labels_from_wrong_ones(kind: str) -> None:
    learner = MentorLearner(KINDS[kind], 3, 0)
    lesson = teach(learner, rows(separable=True), torch.arange(N), 0)
    assert lesson.auroc == pytest.approx(1.0, abs=1e-3)
    assert lesson.accuracy > 0.98
    assert lesson.noise_rate == pytest.approx(0.4, abs=0.05)
    assert (learner.version, learner.update_id) == (0, -1), "no update of influences"


@pytest.mark.parametrize("kind", KINDS)
def test_losses_that_say_nothing(kind: str) -> None:
    n = 4000
    lesson = teach(MentorLearner(KINDS[kind], 3, 0), rows(separable=False, n=n), torch.arange(n), 0)
    assert lesson.auroc == pytest.approx(0.5, abs=0.06)  # 2.9 standard errors of 800 rows
    assert lesson.accuracy < 0.7


def test_it_says_the_chance_that_a_label_is_right() -> None:
    """Of two kinds of losses, of which 80 % and 30 % have a right label."""
    draw = torch.Generator().manual_seed(1)
    loss = torch.randint(2, (N,), generator=draw).float() * 2
    right = torch.rand(N, generator=draw) < torch.where(loss == 0, 0.8, 0.3)
    given = rows(separable=True)
    features = Features(loss, loss - 1, given.features.label, given.features.progress, given.features.history)
    learner = MentorLearner(KINDS["mlp"], 3, 0)
    teach(learner, Rows(features, right.float(), torch.ones(N)), torch.arange(N), 0)
    scored = learner.score(features)
    assert scored[loss == 0].mean() == pytest.approx(0.8, abs=0.07)
    assert scored[loss == 2].mean() == pytest.approx(0.3, abs=0.07)


def test_a_row_counts_as_much_as_its_mass() -> None:
    """Of rows of the same features, right and wrong, three times as many by mass are right."""
    n = 40
    features = Features(torch.ones(n), torch.zeros(n), torch.zeros(n).long(), torch.zeros(n), torch.zeros(n, 0))
    target = (torch.arange(n) % 2).float()
    learner = MentorLearner(KINDS["mlp"], 3, 0)
    lesson = teach(learner, Rows(features, target, 1 + 2 * target), torch.arange(n) // 2, 0)
    assert learner.score(features)[0] == pytest.approx(0.75, abs=0.01)
    assert lesson.noise_rate == pytest.approx(0.25)


def test_a_sample_is_held_out_with_all_of_its_rows() -> None:
    """Rows of a sample that says nothing of the others: what was learnt by heart would show on rows held out alone."""
    draw = torch.Generator().manual_seed(2)
    sample = torch.arange(30).repeat_interleave(20)
    right = (torch.rand(30, generator=draw) < 0.5)[sample]
    loss = (5 * torch.rand(30, generator=draw))[sample]
    given = rows(separable=True)
    features = Features(loss, loss, given.features.label, given.features.progress, given.features.history)
    lesson = teach(MentorLearner(KINDS["mlp"], 3, 0), Rows(features, right.float(), torch.ones(N)), sample, 0)
    assert lesson.rows == 24 * 20
    assert lesson.accuracy < 0.9


def test_auroc_is_scikit_learns() -> None:
    draw = torch.Generator().manual_seed(3)
    scored = torch.randint(8, (200,), generator=draw) / 8  # with ties
    right = torch.rand(200, generator=draw) < scored
    assert auroc(scored, right) == pytest.approx(roc_auc_score(right.numpy(), scored.numpy()))
    assert auroc(scored, torch.ones(200, dtype=torch.bool)) is None
