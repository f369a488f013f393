"""A training loop of one's own: what it learns, and what it refuses."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from ray_mentor.config import MentorConfig
from ray_mentor.core.learned_curriculum import LearnedCurriculum
from ray_mentor.errors import UserError


def blobs(n: int, seed: int) -> tuple[Tensor, Tensor]:
    """Three classes, well apart."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(3, (n,), generator=generator)
    return torch.eye(3)[labels] * 3 + torch.randn(n, 3, generator=generator), labels


def student() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 64), nn.ReLU(), nn.Linear(64, 3))


def test_it_tells_wrong_labels_from_right_ones() -> None:
    inputs, truth = blobs(300, 0)
    wrong = torch.arange(300) % 3 == 0
    given = torch.where(wrong, (truth + 1) % 3, truth)
    model = student()
    optimizer = torch.optim.SGD(model.parameters(), 0.05, momentum=0.9)
    settings = MentorConfig(update_interval=2, mentor_learning_rate=0.01)
    curriculum = LearnedCurriculum(model, optimizer, blobs(60, 1), total_steps=300, mentor=settings)
    for step in range(300):
        rows = torch.randperm(300, generator=torch.Generator().manual_seed(step))[:100]
        record = curriculum.step(inputs[rows], given[rows], rows=rows)
    assert torch.equal(record.batch.rows, rows)
    assert record.sample_weights[~wrong[rows]].mean() > 0.7
    assert record.sample_weights[wrong[rows]].mean() < 0.3


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"optimizer": torch.optim.SGD([nn.Parameter(torch.zeros(1))], 0.1)}, "optimizer holds none of the student's"),
        ({"meta": (torch.zeros(5, 3), torch.zeros(4, dtype=torch.long))}, "meta holds 5 inputs and 4 labels"),
        ({"meta": (torch.zeros(0, 3), torch.zeros(0, dtype=torch.long))}, "meta holds 0 inputs and 0 labels"),
        ({"total_steps": 0}, "total_steps is 0, but it must be at least 1"),
        ({"mentor": MentorConfig(history_length=2)}, "n_samples is 0, but a loss history needs the size"),
    ],
)
def test_what_would_train_wrongly_is_refused(changes: dict[str, Any], message: str) -> None:
    model = student()
    arguments: dict[str, Any] = {
        "optimizer": torch.optim.SGD(model.parameters(), 0.1),
        "meta": blobs(9, 0),
        "total_steps": 5,
    }
    with pytest.raises(UserError, match=message):
        LearnedCurriculum(model, **{**arguments, **changes})


def test_a_history_needs_to_know_the_samples() -> None:
    model = student()
    settings = MentorConfig(history_length=2)
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    curriculum = LearnedCurriculum(model, optimizer, blobs(9, 0), total_steps=5, n_samples=20, mentor=settings)
    with pytest.raises(UserError, match="rows is None"):
        curriculum.step(*blobs(4, 1))


def test_it_has_no_need_of_ray() -> None:
    code = "import sys; from ray_mentor import LearnedCurriculum; sys.exit('ray' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
