"""Parts of a curriculum that tests put in the place of the real ones."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ray_mentor.core.mentor.access import LocalMentor
from ray_mentor.core.mentor.learner import MentorLearner, MetaUpdate
from ray_mentor.core.step.gradient_rules import AbstractGradientRule
from ray_mentor.core.step.gradient_rules.base import Gradient


class Spy(LocalMentor):
    """A mentor in this process that remembers every update it was given."""

    def __init__(self, learner: MentorLearner) -> None:
        super().__init__(learner)
        self.updates: list[MetaUpdate] = []

    def learn(self, update: MetaUpdate) -> None:
        self.updates.append(update)
        super().learn(update)


class Mean(AbstractGradientRule):
    """Half the train gradient, half the meta gradient."""

    needs_meta_gradient = True

    def __call__(self, train: Gradient, meta: Gradient | None) -> Gradient:
        assert meta is not None
        return {name: (gradient + meta[name]) / 2 for name, gradient in train.items()}


class TiedAndFrozen(nn.Module):
    """Five values in, three classes out: one layer used twice, one frozen, one frozen bias."""

    def __init__(self) -> None:
        super().__init__()
        self.enter = nn.Linear(5, 6)
        self.twice = nn.Linear(6, 6)
        self.again = self.twice
        self.frozen = nn.Linear(6, 6).requires_grad_(False)
        self.leave = nn.Linear(6, 3)
        self.leave.bias.requires_grad_(False)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.tanh(self.twice(torch.tanh(self.enter(x))))
        return self.leave(torch.tanh(self.again(self.frozen(x))))
