"""A training loop of one's own, small enough for hundreds of steps a second."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ray_mentor.config import CurriculumConfig, MentorConfig
from ray_mentor.core.own_loop.learned_curriculum import LearnedCurriculum
from ray_mentor.core.step.record import StepRecord

CLASSES = 3


def blobs(n: int, seed: int) -> tuple[Tensor, Tensor]:
    """Three classes, well apart."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(CLASSES, (n,), generator=generator)
    return torch.eye(CLASSES)[labels] * 3 + torch.randn(n, CLASSES, generator=generator), labels


def student() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 16), nn.ReLU(), nn.Linear(16, CLASSES))


def coupled_student() -> nn.Module:
    """One with buffers, and with draws of its own."""
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Dropout(0.3), nn.Linear(16, CLASSES))


def momentum(model: nn.Module) -> torch.optim.Optimizer:
    return torch.optim.SGD(model.parameters(), 0.05, momentum=0.9)


def adam(model: nn.Module) -> torch.optim.Optimizer:
    return torch.optim.AdamW(model.parameters(), 0.01)


def per_sample(outputs: Tensor, labels: Tensor) -> Tensor:
    return F.cross_entropy(outputs, labels, reduction="none")


def noisy(steps: int, size: int = 20, first: int = 0) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """Batches of (inputs, given labels, sample ids) of 60 samples, every third of whose labels is wrong."""
    inputs, truth = blobs(60, 0)
    given = torch.where(torch.arange(60) % 3 == 0, (truth + 1) % CLASSES, truth)
    for step in range(first, first + steps):
        rows = torch.randperm(60, generator=torch.Generator().manual_seed(step))[:size]
        yield inputs[rows], given[rows], rows


class Loop:
    """Student, optimizer and curriculum, and the lines of docs/own-loop.md.

    Args:
        changes: arguments of the curriculum.
    """

    def __init__(
        self,
        make_student: Callable[[], nn.Module] = student,
        make_optimizer: Callable[[nn.Module], torch.optim.Optimizer] = momentum,
        **changes: Any,
    ) -> None:
        self.student = make_student()
        self.optimizer = make_optimizer(self.student)
        mentor = MentorConfig(update_interval=2, mentor_learning_rate=0.005, meta_batch_size=16)
        arguments: dict[str, Any] = {
            "meta_loader": blobs(30, 1),
            "total_steps": 20,
            "mentor": mentor,
            "curriculum": CurriculumConfig(burn_in=0.0),
        }
        self.curriculum = LearnedCurriculum(self.student, self.optimizer, **{**arguments, **changes})

    def weigh(self, inputs: Tensor, labels: Tensor, ids: Tensor | None = None) -> Tensor:
        losses = per_sample(self.student(inputs), labels)
        return self.curriculum.weigh(losses, labels=labels, sample_ids=ids)

    def step(self, inputs: Tensor, labels: Tensor, ids: Tensor | None = None) -> StepRecord:
        return self.finish(self.weigh(inputs, labels, ids))

    def finish(self, loss: Tensor) -> StepRecord:
        """The rest of a step."""
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        record = self.curriculum.after_step()
        assert record is not None
        return record

    def run(self, steps: int, first: int = 0) -> list[StepRecord]:
        return [self.step(*batch) for batch in noisy(steps, first=first)]


def params(model: nn.Module) -> dict[str, Tensor]:
    """Params and buffers, copies, under the names they have without a wrapper."""
    named = {**dict(model.named_parameters()), **dict(model.named_buffers())}
    return {name.replace("_orig_mod.", ""): value.detach().clone() for name, value in named.items()}


def assert_same(found: dict[str, Tensor], expected: dict[str, Tensor]) -> None:
    """Bit for bit."""
    assert found.keys() == expected.keys()
    for name in expected:
        assert torch.equal(found[name], expected[name]), name


def assert_same_records(found: list[StepRecord], expected: list[StepRecord]) -> None:
    """Bit for bit; NaN equals NaN."""
    assert len(found) == len(expected)
    for one, other in zip(found, expected, strict=True):
        assert (one.step, one.meta_loss) == (other.step, other.meta_loss)
        for name in ("losses", "scored", "sample_weights", "influence"):
            mine, theirs = getattr(one, name), getattr(other, name)
            assert torch.equal(mine.nan_to_num(-7), theirs.nan_to_num(-7)), (one.step, name)


def mentor_bytes(curriculum: LearnedCurriculum) -> bytes:
    assert curriculum.mentor is not None
    return curriculum.mentor.state.payload
