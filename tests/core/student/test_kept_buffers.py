"""Buffers end as they began, however a forward pass changes them."""

from __future__ import annotations

import pytest
import torch
from own_loop import Loop, noisy
from torch import Tensor, nn

from ray_mentor.config import MentorConfig
from ray_mentor.core.student.kept_buffers import kept_buffers


class Following(nn.Module):
    """Follows the mean of its inputs, and counts its passes."""

    def __init__(self, how: str) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.how = how
        self.head = nn.Linear(3, 3)
        self.register_buffer("mean", torch.zeros(3))
        self.register_buffer("count", torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        if self.training:
            mean = 0.9 * self.mean + 0.1 * x.detach().mean(0)
            if self.how == "replaced":
                self.mean, self.count = mean, self.count + 1
            elif self.how == "in place":
                self.mean.copy_(mean)
                self.count += 1
            else:
                self.mean.data = mean
                self.count.data.add_(1)
        return self.head(x - self.mean.clone())


HOW = ["replaced", "in place", "data"]


@pytest.mark.parametrize("how", HOW)
def test_both_objects_and_values_come_back(how: str) -> None:
    model = Following(how)
    before = dict(model.named_buffers())
    with kept_buffers(model):
        model(torch.ones(4, 3))
        assert float(model.count) == 1
    after = dict(model.named_buffers())
    assert all(after[name] is buffer for name, buffer in before.items())
    assert float(model.count) == 0
    assert torch.equal(model.mean, torch.zeros(3))


def test_a_buffer_that_modules_share_comes_back_in_each() -> None:
    model = nn.ModuleList([Following("replaced"), Following("replaced")])
    model[1].mean = model[0].mean
    with kept_buffers(model):
        model[1](torch.ones(4, 3))
    assert model[1].mean is model[0].mean
    assert torch.equal(model[0].mean, torch.zeros(3))


@pytest.mark.parametrize("how", HOW)
def test_a_student_that_is_looked_at_passes_each_batch_once(how: str) -> None:
    """A meta set far off would be seen in its mean."""
    inputs, labels = torch.randn(30, 3) + 100, torch.arange(30) % 3
    settings = MentorConfig(update_interval=1, meta_batch_size=16, meta_loss="loss")
    loop = Loop(lambda: Following(how), meta_loader=(inputs, labels), mentor=settings)
    expected = torch.zeros(3)
    for batch in noisy(5):
        loop.step(*batch)
        expected = 0.9 * expected + 0.1 * batch[0].mean(0)
    assert loop.curriculum.curriculum.meta.done == 5
    assert float(loop.student.count) == 5  # type: ignore[arg-type]
    assert torch.equal(loop.student.mean, expected)  # type: ignore[arg-type]


@pytest.mark.parametrize("replaced", [False, True])
def test_a_constant_that_lies_in_memory_once(replaced: bool) -> None:
    """Which nothing can be copied into as it is."""

    class Scaled(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.head = nn.Linear(3, 3)
            self.register_buffer("scale", torch.ones(1, 1).expand(2, 3))

        def forward(self, x: Tensor) -> Tensor:
            if replaced:
                self.scale = 2 * torch.ones(2, 3)
            else:
                self.scale[:1, :1].add_(1)
            return self.head(x * self.scale[0])

    model = Scaled()
    before = model.scale
    with kept_buffers(model):
        model(torch.ones(4, 3))
        assert torch.equal(model.scale, torch.full((2, 3), 2.0))
    assert model.scale is before
    assert torch.equal(model.scale, torch.ones(2, 3))


class Looking(nn.Module):
    """Rows of its table are cut to length 1 as they are looked up; its last layer is the table again."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.table = nn.Embedding(3, 8, max_norm=1.0)

    def forward(self, ids: Tensor) -> Tensor:
        return nn.functional.linear(self.table(ids), self.table.weight)


def test_rows_that_the_meta_set_alone_looks_up_are_not_cut() -> None:
    ids, meta = torch.tensor([0, 1, 0, 1]), torch.tensor([1, 2, 2])
    settings = MentorConfig(update_interval=1, meta_batch_size=3)
    loop = Loop(
        Looking, lambda model: torch.optim.SGD(model.parameters(), 0.1), meta_loader=(meta, meta), mentor=settings
    )
    row = loop.student.table.weight[2].norm()  # type: ignore[union-attr,index]
    assert row > 1.5
    for _ in range(2):
        loop.step(ids, ids)
    assert loop.curriculum.curriculum.meta.done == 2
    assert loop.student.table.weight[2].norm() > 1.3  # type: ignore[union-attr,index]
